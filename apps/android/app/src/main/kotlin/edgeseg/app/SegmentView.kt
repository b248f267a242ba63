package edgeseg.app

import android.content.Context
import android.graphics.Canvas
import android.graphics.Paint
import android.graphics.RectF
import android.util.AttributeSet
import android.view.MotionEvent
import android.view.View
import edgeseg.core.Segment

/** Shows a picture with its overlay, fitted into the view; a tap tells the segment below the finger. */
class SegmentView(context: Context, attributes: AttributeSet?) : View(context, attributes) {
    var onPick: (Segment?) -> Unit = {}

    private val place = RectF()
    private val paint = Paint(Paint.FILTER_BITMAP_FLAG)

    var picture: Picture? = null
        set(value) {
            field = value
            arrange()
            invalidate()
        }

    override fun onSizeChanged(width: Int, height: Int, oldWidth: Int, oldHeight: Int) = arrange()

    override fun onDraw(canvas: Canvas) {
        val shown = picture ?: return
        canvas.drawBitmap(shown.photoBitmap, null, place, paint)
        canvas.drawBitmap(shown.overlayBitmap, null, place, paint)
    }

    override fun onTouchEvent(event: MotionEvent): Boolean {
        if (event.actionMasked == MotionEvent.ACTION_UP) {
            performClick()
            onPick(segmentAt(event.x, event.y))
        }
        return true
    }

    override fun performClick(): Boolean {
        super.performClick()
        return true
    }

    private fun segmentAt(x: Float, y: Float): Segment? {
        val shown = picture ?: return null
        if (!place.contains(x, y)) return null
        val (height, width) = shown.photo.size
        val column = ((x - place.left) / place.width() * width).toInt().coerceIn(0, width - 1)
        val row = ((y - place.top) / place.height() * height).toInt().coerceIn(0, height - 1)
        return shown.panoptic.segmentAt(column, row)
    }

    private fun arrange() {
        val size = picture?.photo?.size ?: return
        val scale = minOf(width / size.width.toFloat(), height / size.height.toFloat())
        val left = (width - size.width * scale) / 2
        val top = (height - size.height * scale) / 2
        place.set(left, top, left + size.width * scale, top + size.height * scale)
    }
}
