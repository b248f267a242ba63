package edgeseg.app

import android.content.ContentProvider
import android.content.ContentValues
import android.content.Context
import android.database.Cursor
import android.database.MatrixCursor
import android.net.Uri
import android.os.ParcelFileDescriptor
import android.provider.OpenableColumns
import java.io.File
import java.io.FileNotFoundException

/** Hands out the files in [shareFolder], read only, to the app that the user picked. */
class ShareProvider : ContentProvider() {
    override fun onCreate() = true

    override fun openFile(uri: Uri, mode: String): ParcelFileDescriptor =
        ParcelFileDescriptor.open(fileOf(uri), ParcelFileDescriptor.MODE_READ_ONLY)

    override fun getType(uri: Uri): String = when (fileOf(uri).extension) {
        "jpg" -> "image/jpeg"
        "png" -> "image/png"
        else -> "application/json"
    }

    override fun query(
        uri: Uri,
        projection: Array<String>?,
        selection: String?,
        selectionArgs: Array<String>?,
        sortOrder: String?
    ): Cursor {
        val file = fileOf(uri)
        return MatrixCursor(arrayOf(OpenableColumns.DISPLAY_NAME, OpenableColumns.SIZE)).apply {
            addRow(arrayOf<Any>(file.name, file.length()))
        }
    }

    override fun insert(uri: Uri, values: ContentValues?): Uri? = null

    override fun update(uri: Uri, values: ContentValues?, selection: String?, selectionArgs: Array<String>?) = 0

    override fun delete(uri: Uri, selection: String?, selectionArgs: Array<String>?) = 0

    /** Only a file that lies in the folder has a name there. */
    private fun fileOf(uri: Uri): File {
        val listed = context?.let { shareFolder(it).listFiles() }.orEmpty()
        return listed.firstOrNull { it.name == uri.lastPathSegment } ?: throw FileNotFoundException("$uri")
    }

    companion object {
        fun uriOf(context: Context, file: File): Uri =
            Uri.Builder().scheme("content").authority("${context.packageName}.share").appendPath(file.name).build()
    }
}
