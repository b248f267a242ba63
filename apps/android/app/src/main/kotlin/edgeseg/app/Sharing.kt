package edgeseg.app

import android.content.ClipData
import android.content.Context
import android.content.Intent
import android.graphics.Bitmap
import android.graphics.Canvas
import edgeseg.core.cocoPanoptic
import java.io.File
import java.io.IOException
import java.text.SimpleDateFormat
import java.util.Date
import java.util.Locale

/**
 * Writes what is shared of a picture: the photo, the picture with its overlay, and COCO panoptic JSON with its PNG of ids.
 *
 * @throws IOException no room
 */
fun writeShared(context: Context, picture: Picture): List<File> {
    val folder = shareFolder(context)
    folder.deleteRecursively()
    if (!folder.mkdirs()) throw IOException(folder.path)
    val name = "edgeseg-" + SimpleDateFormat("yyyyMMdd-HHmmss", Locale.ROOT).format(Date())
    val drawn = picture.photoBitmap.copy(Bitmap.Config.ARGB_8888, true)
    Canvas(drawn).drawBitmap(picture.overlayBitmap, 0f, 0f, null)
    val json = File(folder, "$name.json")
    json.writeText(cocoPanoptic(picture.panoptic, picture.categories, name).toString())
    return listOf(
        write(File(folder, "$name-overlay.jpg"), drawn, Bitmap.CompressFormat.JPEG),
        write(File(folder, "$name.jpg"), picture.photoBitmap, Bitmap.CompressFormat.JPEG),
        write(File(folder, "$name.png"), toBitmap(picture.panoptic.idPixels()), Bitmap.CompressFormat.PNG),
        json
    )
}

/** Asks the system where to send the files. */
fun share(context: Context, files: List<File>, type: String) {
    val uris = ArrayList(files.map { ShareProvider.uriOf(context, it) })
    val send = Intent(Intent.ACTION_SEND_MULTIPLE).apply {
        this.type = type
        putParcelableArrayListExtra(Intent.EXTRA_STREAM, uris)
        clipData = ClipData.newRawUri(null, uris[0]).apply { uris.drop(1).forEach { addItem(ClipData.Item(it)) } }
        addFlags(Intent.FLAG_GRANT_READ_URI_PERMISSION)
    }
    context.startActivity(Intent.createChooser(send, null))
}

fun shareFolder(context: Context) = File(context.cacheDir, "share")

private fun write(file: File, bitmap: Bitmap, format: Bitmap.CompressFormat): File {
    val isWritten = file.outputStream().use { bitmap.compress(format, 95, it) }
    if (!isWritten) throw IOException(file.path)
    return file
}
