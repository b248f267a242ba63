package edgeseg.app

import android.app.ActivityManager
import android.content.Context
import android.os.Build
import edgeseg.core.Device
import java.io.File

fun thisDevice(context: Context): Device {
    val memory = ActivityManager.MemoryInfo()
    context.getSystemService(ActivityManager::class.java).getMemoryInfo(memory)
    return Device(
        name = "${Build.MANUFACTURER} ${Build.MODEL} (${Build.HARDWARE})",
        cores = Runtime.getRuntime().availableProcessors(),
        os = "Android ${Build.VERSION.RELEASE} (API ${Build.VERSION.SDK_INT})",
        machine = System.getProperty("os.arch").orEmpty(),
        memoryMib = (memory.totalMem shr 20).toInt()
    )
}

/** True on Google's emulators (hardware names goldfish, ranchu): their times are no latencies. */
fun isEmulated(): Boolean = Build.HARDWARE in setOf("goldfish", "ranchu") || Build.FINGERPRINT.startsWith("generic")

fun residentMib(): Double = statusMib("VmRSS")

/** Of the whole process so far. */
fun peakMib(): Double = statusMib("VmHWM")

private fun statusMib(key: String): Double {
    val line = File("/proc/self/status").readLines().first { it.startsWith("$key:") }
    return line.filter { it.isDigit() }.toLong() / 1024.0
}
