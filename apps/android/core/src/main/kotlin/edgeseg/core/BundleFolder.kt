package edgeseg.core

import edgeseg.core.BundleException.Kind
import java.io.File
import java.security.MessageDigest

const val DESCRIPTION = "bundle.json"

/**
 * Opens a bundle's folder for an app that has [runtimes].
 *
 * Every listed file that is there must have its checksum. An artifact that is not there is not offered; none at all is
 * an error, and so is a golden file that is missing. What an app never reads may be left out of its copy of the bundle.
 *
 * @throws BundleException naming the file and what to do
 */
fun openBundle(folder: File, runtimes: Set<String>): OpenBundle {
    val description = File(folder, DESCRIPTION)
    if (!description.isFile) {
        throw BundleException(Kind.MISSING, "'${folder.name}' holds no $DESCRIPTION; choose the folder NAME.edgeseg")
    }
    val bundle = parseBundle(description.readText())
    val offered = bundle.artifacts.filter { it.runtime in runtimes && File(folder, it.file).isFile }
    if (offered.isEmpty()) {
        val held = bundle.artifacts.joinToString { it.file }
        throw BundleException(
            Kind.MISSING,
            "the bundle has no file for ${runtimes.joinToString(" or ")} (it lists $held); export one of them"
        )
    }
    for ((path, sha256) in bundle.sha256ByFile) check(folder, path, sha256)
    return OpenBundle(folder, bundle.copy(artifacts = offered))
}

/** sha256 in small hexadecimal digits. */
fun checksum(file: File): String {
    val digest = MessageDigest.getInstance("SHA-256")
    file.inputStream().use { stream ->
        val block = ByteArray(1 shl 16)
        while (true) {
            val count = stream.read(block)
            if (count < 0) break
            digest.update(block, 0, count)
        }
    }
    return digest.digest().joinToString("") { "%02x".format(it) }
}

private fun check(folder: File, path: String, sha256: String) {
    val file = File(folder, path)
    if (!file.canonicalPath.startsWith(folder.canonicalPath + File.separator)) {
        throw BundleException(Kind.OUTSIDE, "$path leads out of the bundle; do not trust it")
    }
    if (!file.isFile) {
        if (path.startsWith("$GOLDEN/")) throw BundleException(Kind.MISSING, "$path is missing; copy the bundle again")
    } else if (checksum(file) != sha256) {
        throw BundleException(Kind.CHANGED, "$path was changed or cut off (sha256 differs); copy the bundle again")
    }
}
