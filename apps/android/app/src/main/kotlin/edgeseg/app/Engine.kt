package edgeseg.app

import android.content.Context
import android.graphics.Bitmap
import android.media.Image
import android.net.Uri
import android.os.Handler
import android.os.HandlerThread
import android.os.Looper
import edgeseg.core.BundleException
import edgeseg.core.Category
import edgeseg.core.Letterbox
import edgeseg.core.OpenBundle
import edgeseg.core.Panoptic
import edgeseg.core.Placement
import edgeseg.core.RgbImage
import edgeseg.core.Segmenter
import edgeseg.core.SegmenterException
import edgeseg.core.SelfCheck
import edgeseg.core.Size
import edgeseg.core.Stage
import edgeseg.core.StageTimes
import edgeseg.core.agreement
import edgeseg.core.judgedShare
import edgeseg.core.paintOverlay
import edgeseg.core.readGoldens
import java.io.File
import java.io.IOException
import java.util.concurrent.atomic.AtomicBoolean

/** A photo, its segments, and both as they are drawn. */
class Picture(val photo: RgbImage, val panoptic: Panoptic, val categories: List<Category>, overlay: IntArray) {
    val photoBitmap = toBitmap(photo)
    val overlayBitmap = toBitmap(RgbImage(photo.size, overlay))
}

fun toBitmap(image: RgbImage): Bitmap =
    Bitmap.createBitmap(image.pixels, image.size.width, image.size.height, Bitmap.Config.ARGB_8888)

/** How the overlay is painted. */
data class Look(val opacity: Double, val outlines: Boolean)

/** What a problem is about, so that the screen can offer a way on. */
enum class Topic { BUNDLE, RUN, PHOTO, FILES }

/**
 * Does all work that takes time on one thread of its own: opens bundles, loads artifacts, segments pictures. It outlives a
 * rotation; a new bundle or artifact waits for the picture in progress.
 */
class Engine(private val context: Context) {
    /** Called on the main thread. */
    interface Listener {
        fun onBundle(open: OpenBundle)

        fun onReady(choice: Choice, runtimeVersion: String)

        fun onPicture(picture: Picture)

        fun onSelfCheck(choice: Choice, check: SelfCheck)

        fun onShared(files: List<File>)

        fun onProblem(topic: Topic, message: String)
    }

    private class Loaded(val open: OpenBundle, val choice: Choice, val segmenter: Segmenter)

    val times = StageTimes()

    /** Of the main thread. */
    var listener: Listener? = null

    @Volatile
    var look = Look(0.5, true)

    private val main = Handler(Looper.getMainLooper())
    private val thread = HandlerThread("engine").apply { start() }
    private val worker = Handler(thread.looper)
    private val isBusy = AtomicBoolean(false)
    private var loaded: Loaded? = null // of the worker, as the two below
    private var letterbox: Letterbox? = null
    private var placement: Placement? = null

    /** Opens a bundle; what runs goes on until [use]. */
    fun openBundle(source: (BundleStore) -> OpenBundle) = work(Topic.BUNDLE) {
        val open = source(BundleStore(context))
        tell { onBundle(open) }
    }

    /** Replaces what runs. */
    fun use(open: OpenBundle, choice: Choice) = work(Topic.RUN) {
        unload()
        times.clear()
        val now = Loaded(open, choice, Runtimes.load(context, open, choice))
        loaded = now
        tell { onReady(choice, now.segmenter.runtimeVersion) }
    }

    /** Runs the bundle's golden pictures. */
    fun check() = work(Topic.RUN) {
        loaded?.let { now ->
            val check = Runtimes.explained(context, now.choice) { selfCheck(now) }
            tell { onSelfCheck(now.choice, check) }
        }
    }

    /** Takes a camera's frame, or drops it while another is in work; closes it in any case. Called on the camera's thread. */
    fun offer(image: Image, degrees: Int) {
        if (!isBusy.compareAndSet(false, true)) return image.close()
        val photo = try {
            image.use { times.measure(Stage.CAPTURE) { toRgb(it, degrees) } }
        } catch (error: OutOfMemoryError) {
            isBusy.set(false)
            return tell { onProblem(Topic.PHOTO, context.getString(R.string.photo_too_large)) }
        }
        work(Topic.RUN) {
            try {
                segment(photo)
            } finally {
                isBusy.set(false)
            }
        }
    }

    fun submit(uri: Uri) = work(Topic.PHOTO) {
        val photo = try {
            readPhoto(context.contentResolver, uri)
        } catch (error: OutOfMemoryError) {
            throw IOException(context.getString(R.string.photo_too_large))
        }
        work(Topic.RUN) { segment(photo) }
    }

    /** Segments a picture again, after what runs has changed. */
    fun submit(photo: RgbImage) = work(Topic.RUN) { segment(photo) }

    /** Paints a picture again, after [look] has changed. */
    fun repaint(picture: Picture) = work(Topic.RUN) {
        val painted = paint(picture.photo, picture.panoptic, picture.categories)
        tell { onPicture(painted) }
    }

    fun share(picture: Picture) = work(Topic.FILES) {
        val files = writeShared(context, picture)
        tell { onShared(files) }
    }

    fun close() {
        worker.post {
            unload()
            thread.quitSafely()
        }
    }

    private fun segment(photo: RgbImage) {
        val now = loaded ?: return
        val bundle = now.open.bundle
        try {
            val picture = Runtimes.explained(context, now.choice) {
                val input = ByteArray(3 * bundle.inputSize.area)
                times.measure(Stage.PRE) { letterboxFor(photo.size, bundle.inputSize).apply(photo, input) }
                val merged = times.measure(Stage.RUN) { now.segmenter.run(input) }
                val panoptic = times.measure(Stage.POST) {
                    Panoptic(
                        merged,
                        placementFor(photo.size, bundle.inputSize, bundle.merge.upsample),
                        bundle.categories
                    )
                }
                times.measure(Stage.DRAW) { paint(photo, panoptic, bundle.categories) }
            }
            tell { onPicture(picture) }
        } catch (error: SegmenterException) {
            unload() // or every frame would say it again
            throw error
        }
    }

    private fun letterboxFor(photo: Size, network: Size) =
        letterbox?.takeIf { it.photo == photo } ?: Letterbox(photo, network).also { letterbox = it }

    private fun placementFor(photo: Size, network: Size, upsample: Int) =
        placement?.takeIf { it.photo == photo } ?: Placement(photo, network, upsample).also { placement = it }

    private fun paint(photo: RgbImage, panoptic: Panoptic, categories: List<Category>): Picture {
        val overlay = IntArray(photo.size.area)
        val now = look
        paintOverlay(panoptic, categories, now.opacity, now.outlines, overlay)
        return Picture(photo, panoptic, categories, overlay)
    }

    private fun selfCheck(now: Loaded): SelfCheck {
        val goldens = readGoldens(now.open, now.choice.artifact.precision)
        val found = goldens.map { golden ->
            val picture = readPicture(golden.picture)
            val input = ByteArray(3 * now.open.bundle.inputSize.area)
            Letterbox(picture.size, now.open.bundle.inputSize).apply(picture, input)
            agreement(now.segmenter.run(input), golden.expected)
        }
        val share = judgedShare(now.choice.artifact.precision, found.map { it.pixelsEqual })
        return SelfCheck(now.choice.artifact, found.size, share, found.sumOf { it.numSegments })
    }

    private fun unload() {
        loaded?.segmenter?.close()
        loaded = null
        letterbox = null
        placement = null
    }

    private fun work(topic: Topic, block: () -> Unit) {
        worker.post {
            try {
                block()
            } catch (error: BundleException) {
                tell { onProblem(topic, error.message.orEmpty()) }
            } catch (error: SegmenterException) {
                tell { onProblem(topic, error.message.orEmpty()) }
            } catch (error: IOException) {
                tell { onProblem(topic, context.getString(R.string.cannot_read_or_write, error.message)) }
            } catch (error: SecurityException) { // another app withdrew its file
                tell { onProblem(topic, context.getString(R.string.cannot_read_or_write, error.message)) }
            }
        }
    }

    private fun tell(what: Listener.() -> Unit) {
        main.post { listener?.what() }
    }
}
