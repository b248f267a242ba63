package edgeseg.app

import android.Manifest
import android.app.Activity
import android.content.ActivityNotFoundException
import android.content.Intent
import android.content.pm.PackageManager
import android.net.Uri
import android.os.Build
import android.os.Bundle
import android.os.SystemClock
import android.provider.Settings
import android.view.Surface
import android.view.View
import android.view.WindowManager
import android.widget.Button
import android.widget.TextView
import edgeseg.core.OpenBundle
import edgeseg.core.SelfCheck
import java.io.File

/** The camera or a photo, its segments, their legend, and what runs. */
class MainActivity :
    Activity(),
    Engine.Listener {
    /** What a rotation must not end. */
    private class Kept(val engine: Engine, val open: OpenBundle?, val picture: Picture?, val isLive: Boolean)

    private lateinit var engine: Engine
    private lateinit var preferences: Preferences
    private lateinit var view: SegmentView
    private lateinit var panel: SettingsPanel
    private var open: OpenBundle? = null
    private var camera: CameraFeed? = null
    private var cameraTurn = 0
    private var isLive = true // the user wants the camera, whether or not it can be had
    private var isStarted = false
    private var legendShownAt = 0L
    private var runtimeVersion = ""

    override fun onCreate(saved: Bundle?) {
        super.onCreate(saved)
        setContentView(R.layout.main)
        window.addFlags(WindowManager.LayoutParams.FLAG_KEEP_SCREEN_ON)
        preferences = Preferences(applicationContext)
        view = findViewById(R.id.picture)
        view.onPick = { text(R.id.picked).text = segmentText(this, it) }
        panel = SettingsPanel(findViewById(R.id.settings), ::choose, ::restyle)
        panel.showLook(preferences.look)
        onClick(R.id.live) { if (isLive) freeze() else goLive() }
        onClick(R.id.photo) { choosePhoto() }
        onClick(R.id.share) {
            view.picture?.let {
                freeze()
                engine.share(it)
            }
        }
        onClick(R.id.settings_toggle) { toggleSettings() }
        onClick(R.id.open_bundle) { chooseBundle() }
        onClick(R.id.own_bundle) { engine.openBundle { it.openOwn() } }
        onClick(R.id.check) { engine.check() }
        onClick(R.id.bench) { startActivity(Intent(this, BenchActivity::class.java)) }
        restore(lastNonConfigurationInstance as Kept?)
    }

    private fun restore(kept: Kept?) {
        engine = kept?.engine ?: Engine(applicationContext)
        engine.look = preferences.look
        engine.listener = this
        isLive = kept?.isLive ?: true
        view.picture = kept?.picture
        kept?.picture?.let { showLegend(it) }
        open = kept?.open
        open?.let { panel.showChoice(it.bundle, preferences.choiceFor(it)) } ?: engine.openBundle { it.open() }
    }

    override fun onRetainNonConfigurationInstance(): Any = Kept(engine, open, view.picture, isLive)

    override fun onStart() {
        super.onStart()
        isStarted = true
        if (isLive && open != null) goLive()
    }

    override fun onStop() {
        isStarted = false
        stopCamera()
        super.onStop()
    }

    override fun onDestroy() {
        engine.listener = null
        if (!isChangingConfigurations) engine.close()
        super.onDestroy()
    }

    override fun onLowMemory() {
        super.onLowMemory()
        freeze()
        problem(getString(R.string.low_memory), R.string.go_on) { goLive() }
    }

    // The bundle, and what of it runs.

    override fun onBundle(open: OpenBundle) {
        this.open = open
        choose(preferences.choiceFor(open))
        if (isLive && isStarted) goLive()
    }

    private fun chooseBundle() = startForResult(Intent(Intent.ACTION_OPEN_DOCUMENT_TREE), OPEN_BUNDLE)

    private fun choose(choice: Choice) {
        val now = open ?: return
        hideProblem()
        preferences.keep(choice)
        panel.showChoice(now.bundle, choice)
        text(R.id.status).text = getString(R.string.loading, now.bundle.name, choice)
        engine.use(now, choice)
        view.picture?.takeIf { !isLive }?.let { engine.submit(it.photo) }
    }

    private fun restyle(look: Look) {
        preferences.look = look
        engine.look = look
        view.picture?.takeIf { !isLive }?.let { engine.repaint(it) }
    }

    override fun onReady(choice: Choice, runtimeVersion: String) {
        this.runtimeVersion = runtimeVersion
        text(R.id.status).text =
            getString(R.string.ready, open?.bundle?.name, choice.artifact.precision, runtimeVersion)
        if (preferences.needsCheck(choice)) engine.check()
    }

    override fun onSelfCheck(choice: Choice, check: SelfCheck) {
        text(R.id.status).text = getString(R.string.checked, check, runtimeVersion)
        if (check.isPass) {
            preferences.markChecked(choice)
        } else {
            problem(getString(R.string.check_differs, check, runtimeVersion), R.string.go_on) { hideProblem() }
        }
    }

    override fun onProblem(topic: Topic, message: String) = when (topic) {
        Topic.BUNDLE -> problem(message, R.string.open_bundle) { chooseBundle() }

        Topic.PHOTO -> problem(message, R.string.photo) { choosePhoto() }

        Topic.FILES -> problem(message, R.string.go_on) { hideProblem() }

        Topic.RUN -> problem(message, R.string.settings) {
            hideProblem()
            findViewById<View>(R.id.settings).visibility = View.VISIBLE
        }
    }

    // Pictures.

    override fun onPicture(picture: Picture) {
        view.picture = picture
        if (isLive && SystemClock.uptimeMillis() - legendShownAt < LEGEND_EVERY_MS) return
        showLegend(picture)
    }

    private fun showLegend(picture: Picture) {
        legendShownAt = SystemClock.uptimeMillis()
        val legend = legendText(this, picture)
        text(R.id.legend).text = legend
        view.contentDescription = getString(R.string.picture_of, legend)
        text(R.id.times).text = timesText(this, engine.times.recent())
    }

    private fun goLive() {
        isLive = true
        hideProblem()
        findViewById<Button>(R.id.live).setText(R.string.freeze)
        if (open == null) {
            engine.openBundle { it.open() } // says again what is wrong, or goes on here
            return
        }
        if (checkSelfPermission(Manifest.permission.CAMERA) == PackageManager.PERMISSION_GRANTED) {
            startCamera()
        } else {
            requestPermissions(arrayOf(Manifest.permission.CAMERA), ASK_CAMERA)
        }
    }

    private fun freeze() {
        isLive = false
        findViewById<Button>(R.id.live).setText(R.string.camera)
        stopCamera()
        view.picture?.let { showLegend(it) }
    }

    private fun startCamera() {
        stopCamera()
        val wanted = open?.bundle?.inputSize ?: return
        val turn = ++cameraTurn
        camera = CameraFeed(
            applicationContext,
            displayDegrees(),
            onFrame = { image, degrees -> engine.offer(image, degrees) },
            onProblem = { message -> runOnUiThread { if (turn == cameraTurn) cameraProblem(message) } }
        ).also { it.start(wanted) }
    }

    private fun stopCamera() {
        camera?.stop()
        camera = null
        cameraTurn++ // what the stopped one still has to say is of no interest
    }

    private fun cameraProblem(message: Int) {
        stopCamera()
        problem(getString(message), R.string.try_again) { goLive() }
    }

    override fun onRequestPermissionsResult(request: Int, permissions: Array<String>, results: IntArray) {
        if (results.isEmpty()) return // a rotation ended the question; the new screen asks again
        if (results[0] == PackageManager.PERMISSION_GRANTED) return startCamera()
        val canAskAgain = shouldShowRequestPermissionRationale(Manifest.permission.CAMERA)
        problem(getString(R.string.camera_refused), if (canAskAgain) R.string.try_again else R.string.app_settings) {
            if (canAskAgain) goLive() else openAppSettings()
        }
    }

    private fun openAppSettings() {
        isLive = true // the camera starts when the user comes back with the permission
        startActivity(Intent(Settings.ACTION_APPLICATION_DETAILS_SETTINGS, Uri.fromParts("package", packageName, null)))
    }

    private fun choosePhoto() {
        freeze()
        val pick = if (Build.VERSION.SDK_INT >= 33) {
            Intent(PICK_IMAGES)
        } else {
            Intent(Intent.ACTION_OPEN_DOCUMENT).addCategory(Intent.CATEGORY_OPENABLE)
        }
        startForResult(pick.setType("image/*"), PICK_PHOTO)
    }

    private fun startForResult(intent: Intent, request: Int) {
        try {
            startActivityForResult(intent, request)
        } catch (error: ActivityNotFoundException) {
            problem(getString(R.string.no_picker), R.string.go_on) { hideProblem() }
        }
    }

    override fun onActivityResult(request: Int, result: Int, data: Intent?) {
        val uri = data?.data?.takeIf { result == RESULT_OK } ?: return
        when (request) {
            OPEN_BUNDLE -> engine.openBundle { it.adopt(uri) }

            PICK_PHOTO -> {
                freeze()
                hideProblem()
                engine.submit(uri)
            }
        }
    }

    override fun onShared(files: List<File>) = share(this, files, "*/*")

    // Messages.

    private fun problem(message: String, action: Int, onAction: () -> Unit) {
        findViewById<View>(R.id.problem).visibility = View.VISIBLE
        text(R.id.problem_text).text = message
        findViewById<Button>(R.id.problem_action).apply {
            setText(action)
            setOnClickListener { onAction() }
        }
    }

    private fun hideProblem() {
        findViewById<View>(R.id.problem).visibility = View.GONE
    }

    private fun toggleSettings() {
        val settings = findViewById<View>(R.id.settings)
        settings.visibility = if (settings.visibility == View.VISIBLE) View.GONE else View.VISIBLE
    }

    private fun text(id: Int): TextView = findViewById(id)

    private fun onClick(id: Int, action: () -> Unit) = findViewById<View>(id).setOnClickListener { action() }

    @Suppress("DEPRECATION") // Activity.getDisplay needs API 30
    private fun displayDegrees() = when (windowManager.defaultDisplay.rotation) {
        Surface.ROTATION_90 -> 90
        Surface.ROTATION_180 -> 180
        Surface.ROTATION_270 -> 270
        else -> 0
    }

    private companion object {
        const val ASK_CAMERA = 1
        const val PICK_PHOTO = 2
        const val OPEN_BUNDLE = 3
        const val LEGEND_EVERY_MS = 500
        const val PICK_IMAGES = "android.provider.action.PICK_IMAGES" // MediaStore names it from API 33 on
    }
}
