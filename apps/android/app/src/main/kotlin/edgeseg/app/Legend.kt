package edgeseg.app

import android.content.Context
import android.text.SpannableStringBuilder
import android.text.Spanned
import android.text.style.ForegroundColorSpan
import edgeseg.core.Latency
import edgeseg.core.Segment
import edgeseg.core.Stage
import edgeseg.core.slotColors

/** The segments that are present, the largest first, each with its colour and its share of the picture. */
fun legendText(context: Context, picture: Picture): CharSequence {
    val panoptic = picture.panoptic
    if (panoptic.segments.isEmpty()) return context.getString(R.string.nothing_found)
    val colors = slotColors(panoptic.merged, picture.categories)
    val text = SpannableStringBuilder()
    for (segment in panoptic.legend) {
        if (text.isNotEmpty()) text.append('\n')
        val color = colors[panoptic.idOfSlot.indexOf(segment.id)]
        text.append("\u25A0 ", ForegroundColorSpan(color), Spanned.SPAN_EXCLUSIVE_EXCLUSIVE)
        text.append(context.getString(R.string.legend_row, segment.category.name, 100 * segment.share))
    }
    return text.append('\n').append(context.getString(R.string.legend_void, 100 * panoptic.voidShare))
}

fun segmentText(context: Context, segment: Segment?): String = if (segment == null) {
    context.getString(R.string.picked_void)
} else {
    context.getString(R.string.picked, segment.category.name, 100 * segment.share, segment.score)
}

/** One line: each stage's p50 and p90 over the last seconds. */
fun timesText(context: Context, recent: Map<Stage, Latency>): String =
    recent.entries.joinToString("  ") { (stage, latency) ->
        context.getString(R.string.stage_time, stage.name.lowercase(), latency.p50Ms, latency.p90Ms)
    }
