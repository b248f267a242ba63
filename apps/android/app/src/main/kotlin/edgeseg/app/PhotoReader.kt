package edgeseg.app

import android.content.ContentResolver
import android.graphics.Bitmap
import android.graphics.BitmapFactory
import android.graphics.Matrix
import android.media.ExifInterface
import android.media.Image
import android.net.Uri
import edgeseg.core.RgbImage
import edgeseg.core.Size
import edgeseg.core.YuvPlane
import edgeseg.core.yuvToRgb
import java.io.File
import java.io.IOException

/** Longest side of a photo that is kept; more would cost memory and no network sees it. */
private const val MAX_SIDE = 2048

/**
 * A photo, upright, its longer side at most [MAX_SIDE].
 *
 * @throws IOException it cannot be opened or is no picture
 */
fun readPhoto(resolver: ContentResolver, uri: Uri): RgbImage {
    fun stream() = resolver.openInputStream(uri) ?: throw IOException("$uri")
    val bounds = BitmapFactory.Options().apply { inJustDecodeBounds = true }
    stream().use { BitmapFactory.decodeStream(it, null, bounds) }
    if (bounds.outWidth <= 0) throw IOException("not a picture")
    val options = BitmapFactory.Options().apply {
        inSampleSize = 1
        while (maxOf(bounds.outWidth, bounds.outHeight) / inSampleSize > MAX_SIDE) inSampleSize *= 2
    }
    val bitmap = stream().use { BitmapFactory.decodeStream(it, null, options) } ?: throw IOException("not a picture")
    val turn = stream().use { uprightTurn(ExifInterface(it)) }
    val upright = Bitmap.createBitmap(bitmap, 0, 0, bitmap.width, bitmap.height, turn, true)
    return toRgb(upright)
}

/** A picture file as it is, every pixel. */
fun readPicture(file: File): RgbImage {
    val options = BitmapFactory.Options().apply { inScaled = false }
    return toRgb(BitmapFactory.decodeFile(file.path, options) ?: throw IOException("${file.name} is not a picture"))
}

/** A camera's frame, turned clockwise by [degrees]. */
fun toRgb(image: Image, degrees: Int): RgbImage {
    val (y, u, v) = image.planes.map { YuvPlane(it.buffer, it.rowStride, it.pixelStride) }
    return yuvToRgb(Size(image.height, image.width), y, u, v, degrees)
}

private fun toRgb(bitmap: Bitmap): RgbImage {
    val pixels = IntArray(bitmap.width * bitmap.height)
    bitmap.getPixels(pixels, 0, bitmap.width, 0, 0, bitmap.width, bitmap.height)
    return RgbImage(Size(bitmap.height, bitmap.width), pixels)
}

private fun uprightTurn(exif: ExifInterface): Matrix = Matrix().apply {
    when (exif.getAttributeInt(ExifInterface.TAG_ORIENTATION, ExifInterface.ORIENTATION_NORMAL)) {
        ExifInterface.ORIENTATION_ROTATE_90 -> postRotate(90f)

        ExifInterface.ORIENTATION_ROTATE_180 -> postRotate(180f)

        ExifInterface.ORIENTATION_ROTATE_270 -> postRotate(270f)

        ExifInterface.ORIENTATION_FLIP_HORIZONTAL -> postScale(-1f, 1f)

        ExifInterface.ORIENTATION_FLIP_VERTICAL -> postScale(1f, -1f)

        ExifInterface.ORIENTATION_TRANSPOSE -> {
            postRotate(90f)
            postScale(-1f, 1f)
        }

        ExifInterface.ORIENTATION_TRANSVERSE -> {
            postRotate(270f)
            postScale(-1f, 1f)
        }
    }
}
