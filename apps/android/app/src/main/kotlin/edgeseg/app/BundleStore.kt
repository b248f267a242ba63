package edgeseg.app

import android.content.Context
import android.content.res.AssetManager
import android.net.Uri
import android.provider.DocumentsContract
import android.provider.DocumentsContract.Document
import edgeseg.core.BundleException
import edgeseg.core.BundleException.Kind
import edgeseg.core.DESCRIPTION
import edgeseg.core.GOLDEN
import edgeseg.core.OpenBundle
import edgeseg.core.openBundle
import edgeseg.core.parseBundle
import java.io.File
import java.io.IOException
import java.io.InputStream

/**
 * The bundle that the app works with: the one in the APK, or one that the user opened. Both are copied to private files,
 * because runtimes read models by path, and are checked there.
 */
class BundleStore(private val context: Context) {
    private val root = File(context.filesDir, "bundles")
    private val settings = context.getSharedPreferences("bundle", Context.MODE_PRIVATE)

    /**
     * The bundle opened last, else the one in the APK.
     *
     * @throws BundleException in one line for people
     */
    fun open(): OpenBundle {
        val opened = settings.getString(OPENED, null)?.let { File(root, it) }?.takeIf { it.isDirectory }
        return openBundle(opened ?: unpackedAsset(), Runtimes.names)
    }

    /**
     * Goes back to the bundle in the APK.
     *
     * @throws BundleException in one line for people
     */
    fun openOwn(): OpenBundle = openBundle(unpackedAsset(), Runtimes.names).also {
        settings.edit().remove(OPENED).apply()
    }

    /**
     * Copies a folder NAME.edgeseg that the user chose; it replaces the bundle in use only if it is sound.
     *
     * @throws BundleException in one line for people
     */
    fun adopt(tree: Uri): OpenBundle {
        val files = DocumentTree(context, tree).files()
        val description = files[DESCRIPTION]
            ?: throw BundleException(Kind.MISSING, context.getString(R.string.no_description, DESCRIPTION))
        val folder = File(root, "opened-${System.currentTimeMillis()}")
        val open = try {
            copy(description, folder, DESCRIPTION)
            for (path in wanted(File(folder, DESCRIPTION).readText())) files[path]?.let { copy(it, folder, path) }
            openBundle(folder, Runtimes.names)
        } catch (error: IOException) {
            folder.deleteRecursively()
            throw BundleException(Kind.MISSING, context.getString(R.string.cannot_copy, error.message))
        } catch (error: BundleException) {
            folder.deleteRecursively()
            throw error
        }
        settings.edit().putString(OPENED, folder.name).apply()
        root.listFiles { file -> file.name.startsWith("opened-") && file != folder }?.forEach { it.deleteRecursively() }
        return open
    }

    private fun copy(document: Uri, folder: File, path: String) {
        val stream = context.contentResolver.openInputStream(document) ?: throw IOException(path)
        write(stream, File(folder, path))
    }

    private fun unpackedAsset(): File {
        val assets = context.assets
        val description = try {
            assets.open("$ASSET/$DESCRIPTION").use { it.readBytes() }
        } catch (error: IOException) {
            throw BundleException(Kind.MISSING, context.getString(R.string.no_bundle))
        }
        val folder = File(root, "asset")
        val copied = File(folder, DESCRIPTION)
        if (!copied.isFile || !copied.readBytes().contentEquals(description)) unpack(assets, description, folder)
        return folder
    }

    private fun unpack(assets: AssetManager, description: ByteArray, folder: File) {
        val aside = File(root, "asset.part")
        aside.deleteRecursively()
        try {
            write(description.inputStream(), File(aside, DESCRIPTION))
            for (path in wanted(description.decodeToString())) {
                // What is not in the APK is found missing when the copy is opened.
                val stream = try {
                    assets.open("$ASSET/$path")
                } catch (error: IOException) {
                    continue
                }
                write(stream, File(aside, path))
            }
            folder.deleteRecursively()
            if (!aside.renameTo(folder)) throw IOException(folder.path)
        } catch (error: IOException) {
            throw BundleException(Kind.MISSING, context.getString(R.string.cannot_copy, error.message))
        }
    }

    /** What this app reads of a bundle. */
    private fun wanted(description: String): List<String> {
        val bundle = parseBundle(description)
        val golden = bundle.sha256ByFile.keys.filter { it.startsWith("$GOLDEN/") }
        return bundle.artifacts.filter { it.runtime in Runtimes.names }.map { it.file } + golden
    }

    private fun write(stream: InputStream, file: File) {
        file.parentFile?.mkdirs()
        stream.use { source -> file.outputStream().use { source.copyTo(it) } }
    }

    private companion object {
        const val ASSET = "bundle.edgeseg"
        const val OPENED = "opened"
    }
}

/** The files of a folder that the user chose, by their path in it. */
private class DocumentTree(private val context: Context, private val tree: Uri) {
    fun files(): Map<String, Uri> = HashMap<String, Uri>().also {
        try {
            list(DocumentsContract.getTreeDocumentId(tree), "", it)
        } catch (error: SecurityException) {
            throw BundleException(Kind.MISSING, context.getString(R.string.cannot_copy, error.message))
        }
    }

    private fun list(folderId: String, prefix: String, into: MutableMap<String, Uri>) {
        val children = DocumentsContract.buildChildDocumentsUriUsingTree(tree, folderId)
        val columns = arrayOf(Document.COLUMN_DOCUMENT_ID, Document.COLUMN_DISPLAY_NAME, Document.COLUMN_MIME_TYPE)
        context.contentResolver.query(children, columns, null, null, null)?.use { cursor ->
            while (cursor.moveToNext()) {
                val path = prefix + cursor.getString(1)
                if (cursor.getString(2) != Document.MIME_TYPE_DIR) {
                    into[path] = DocumentsContract.buildDocumentUriUsingTree(tree, cursor.getString(0))
                } else if (path == GOLDEN) {
                    list(cursor.getString(0), "$path/", into)
                }
            }
        }
    }
}
