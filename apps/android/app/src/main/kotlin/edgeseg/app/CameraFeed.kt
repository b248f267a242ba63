package edgeseg.app

import android.annotation.SuppressLint
import android.content.Context
import android.graphics.ImageFormat
import android.hardware.camera2.CameraAccessException
import android.hardware.camera2.CameraCaptureSession
import android.hardware.camera2.CameraCharacteristics
import android.hardware.camera2.CameraDevice
import android.hardware.camera2.CameraManager
import android.media.Image
import android.media.ImageReader
import android.os.Handler
import android.os.HandlerThread
import edgeseg.core.Size

/**
 * Frames of the back camera, or of the only one there is, on a thread of their own.
 *
 * @param onFrame gets an image, which it must close, and the clockwise turn in degrees that makes it upright
 * @param onProblem gets a string resource; the feed has stopped then
 */
class CameraFeed(
    context: Context,
    private val displayDegrees: Int,
    private val onFrame: (Image, Int) -> Unit,
    private val onProblem: (Int) -> Unit
) {
    private val manager = context.getSystemService(CameraManager::class.java)
    private val thread = HandlerThread("camera").apply { start() }
    private val handler = Handler(thread.looper)
    private var reader: ImageReader? = null
    private var device: CameraDevice? = null
    private var isStopped = false

    /** Starts with the smallest frames that are no smaller than [wanted]; the CAMERA permission must be there. */
    fun start(wanted: Size) = handler.post {
        try {
            val id = chooseCamera()
            if (id == null) fail(R.string.camera_missing) else open(id, wanted)
        } catch (error: CameraAccessException) {
            fail(reasonOf(error))
        } catch (error: SecurityException) {
            fail(R.string.camera_refused)
        } catch (error: IllegalArgumentException) { // the camera was unplugged between the list and the opening
            fail(R.string.camera_missing)
        }
    }

    /** Stops and releases; no frame comes after it has returned to the camera's thread. */
    fun stop() {
        handler.post {
            isStopped = true
            release()
            thread.quitSafely()
        }
    }

    private fun chooseCamera(): String? {
        val ids = manager.cameraIdList
        return ids.firstOrNull { facing(it) == CameraCharacteristics.LENS_FACING_BACK } ?: ids.firstOrNull()
    }

    private fun facing(id: String) = manager.getCameraCharacteristics(id).get(CameraCharacteristics.LENS_FACING)

    @SuppressLint("MissingPermission") // the activity asks before it starts the feed
    private fun open(id: String, wanted: Size) {
        val size = chooseSize(id, wanted) ?: return fail(R.string.camera_missing)
        val degrees = uprightTurn(id)
        val frames = ImageReader.newInstance(size.width, size.height, ImageFormat.YUV_420_888, 2)
        frames.setOnImageAvailableListener({ source ->
            source.acquireLatestImage()?.let { if (isStopped) it.close() else onFrame(it, degrees) }
        }, handler)
        reader = frames
        manager.openCamera(id, DeviceCallback(), handler)
    }

    private fun chooseSize(id: String, wanted: Size): Size? {
        val map = manager.getCameraCharacteristics(id).get(CameraCharacteristics.SCALER_STREAM_CONFIGURATION_MAP)
        val sizes = map?.getOutputSizes(ImageFormat.YUV_420_888)?.map { Size(it.height, it.width) }.orEmpty()
        val even = sizes.filter { it.height % 2 == 0 && it.width % 2 == 0 }.sortedBy { it.area }
        val side = maxOf(wanted.height, wanted.width)
        return even.firstOrNull { minOf(it.height, it.width) >= side } ?: even.lastOrNull()
    }

    private fun uprightTurn(id: String): Int {
        val sensor = manager.getCameraCharacteristics(id).get(CameraCharacteristics.SENSOR_ORIENTATION) ?: 0
        val isFront = facing(id) == CameraCharacteristics.LENS_FACING_FRONT
        return (if (isFront) sensor + displayDegrees else sensor - displayDegrees + 360) % 360
    }

    private fun reasonOf(error: CameraAccessException) = when (error.reason) {
        CameraAccessException.CAMERA_IN_USE, CameraAccessException.MAX_CAMERAS_IN_USE -> R.string.camera_taken
        CameraAccessException.CAMERA_DISABLED -> R.string.camera_disabled
        else -> R.string.camera_broken
    }

    private fun fail(message: Int) {
        if (!isStopped) onProblem(message)
        release()
    }

    private fun release() {
        device?.close()
        device = null
        reader?.close()
        reader = null
    }

    private inner class DeviceCallback : CameraDevice.StateCallback() {
        override fun onOpened(camera: CameraDevice) {
            device = camera
            val surface = reader?.surface
            if (isStopped || surface == null) return release()
            try {
                @Suppress("DEPRECATION") // its successor needs API 28
                camera.createCaptureSession(listOf(surface), SessionCallback(camera), handler)
            } catch (error: CameraAccessException) {
                fail(reasonOf(error))
            } catch (error: IllegalStateException) { // closed in between
                fail(R.string.camera_broken)
            }
        }

        override fun onDisconnected(camera: CameraDevice) {
            device = camera
            fail(R.string.camera_taken)
        }

        override fun onError(camera: CameraDevice, error: Int) {
            device = camera
            fail(
                when (error) {
                    ERROR_CAMERA_IN_USE, ERROR_MAX_CAMERAS_IN_USE -> R.string.camera_taken
                    ERROR_CAMERA_DISABLED -> R.string.camera_disabled
                    else -> R.string.camera_broken
                }
            )
        }
    }

    private inner class SessionCallback(private val camera: CameraDevice) : CameraCaptureSession.StateCallback() {
        override fun onConfigured(session: CameraCaptureSession) {
            val surface = reader?.surface
            if (isStopped || surface == null) return
            try {
                val request = camera.createCaptureRequest(CameraDevice.TEMPLATE_PREVIEW).apply { addTarget(surface) }
                session.setRepeatingRequest(request.build(), null, handler)
            } catch (error: CameraAccessException) {
                fail(reasonOf(error))
            } catch (error: IllegalStateException) { // closed in between
                fail(R.string.camera_broken)
            }
        }

        override fun onConfigureFailed(session: CameraCaptureSession) = fail(R.string.camera_broken)
    }
}
