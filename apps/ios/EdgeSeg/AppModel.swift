import EdgeSegCore
import SwiftUI

/// What the screens show, and what their buttons do.
@MainActor
final class AppModel: ObservableObject {
    @Published private(set) var open: OpenBundle?
    @Published private(set) var choice: Choice?
    /// Of what runs, with the compute units that it obtained; nil while nothing does.
    @Published private(set) var runtimeVersion: String?
    @Published private(set) var selfCheck = "not run"
    @Published private(set) var picture: Picture?
    @Published private(set) var camera = CameraFeed.State.stopped
    @Published private(set) var times: [Stage: Latency] = [:]
    @Published var problem: String?
    @Published var selected: Segment?
    @Published var isFrozen = false { didSet { followCamera() } }
    @Published var look = Look() { didSet { repaint() } }
    var isOnScreen = false { didSet { followCamera() } }
    /// The benchmark wants the device for itself.
    var isBenchmarking = false { didSet { followCamera() } }

    private let engine = Engine()
    private let feed = CameraFeed()
    private let gate = FrameGate()

    init() {
        feed.onState = { [weak self] state in
            self?.camera = state
            if state == .running { self?.followCamera() }  // it may have been frozen meanwhile
        }
        feed.onFrame = { [weak self, gate] buffer in
            guard gate.enter() else { return }
            let started = ContinuousClock.now
            guard let photo = copyImage(buffer) else { return gate.leave() }
            let captureMs = milliseconds(ContinuousClock.now - started)
            Task { [weak self] in
                await self?.segment(photo, captureMs: captureMs)
                gate.leave()
            }
        }
    }

    /// Opens the bundle, then waits for the system's warnings.
    func start() async {
        if open == nil { openBundle(BundleStore.open) }
        for await _ in NotificationCenter.default.notifications(named: UIApplication.didReceiveMemoryWarningNotification) {
            await lowMemory()
        }
    }

    func openBundle(_ source: @escaping @Sendable () throws -> OpenBundle) {
        Task {
            do {
                let found = try await Task.detached(operation: source).value
                open = found
                let artifact = found.bundle.artifacts[0]
                let units = Runtimes.units(for: artifact).last { $0.refusal == nil } ?? .cpu
                await use(Choice(artifact: artifact, units: units))
            } catch {
                say(error)
            }
        }
    }

    /// Replaces what runs, then runs the self-check.
    func use(_ wanted: Choice) async {
        guard let open else { return }
        let before = runtimeVersion
        runtimeVersion = nil
        do {
            let version = try await engine.use(open, wanted)
            choice = wanted
            runtimeVersion = version
            await check()
            if isFrozen, let picture { await segment(picture.photo, captureMs: nil) }
        } catch is CancellationError {
            return  // a later choice is on its way
        } catch {
            runtimeVersion = before  // the former model goes on
            say(error)
        }
        followCamera()
    }

    func check() async {
        selfCheck = "running"
        do {
            selfCheck = try await engine.check()?.description ?? "not run"
        } catch {
            selfCheck = "not run: \(error)"
        }
    }

    func show(photo data: Data) async {
        isFrozen = true
        do {
            let photo = try await Task.detached { try readPhoto(data) }.value
            await segment(photo, captureMs: nil)
        } catch {
            say(error)
        }
    }

    func refreshTimes() async { times = await engine.recentTimes() }

    func beginBenchmark() async {
        isBenchmarking = true
        await engine.unload()
        runtimeVersion = nil
    }

    func endBenchmark() async {
        isBenchmarking = false
        if let choice { await use(choice) }
    }

    private func segment(_ photo: RGBImage, captureMs: Double?) async {
        do {
            let found = try await engine.segment(photo, captureMs: captureMs, look)
            if captureMs != nil && isFrozen { return }  // a frame that was on its way
            guard let found else { return }
            picture = found
            selected = found.panoptic.segments.first { $0.slot == selected?.slot && $0.category == selected?.category }
        } catch {
            runtimeVersion = nil
            say(error)
        }
    }

    private func repaint() {
        guard let picture, let painted = Picture(picture.photo, picture.panoptic, look) else { return }
        self.picture = painted
    }

    private func followCamera() {
        if isOnScreen && !isFrozen && !isBenchmarking {
            if camera != .running { Task { await feed.start() } }
        } else if camera == .running {
            feed.stop()
        }
    }

    private func lowMemory() async {
        isFrozen = true
        await engine.unload()
        runtimeVersion = nil
        problem = "memory is low, so the model was put away; close other apps, then choose a model in the settings"
    }

    private func say(_ error: any Error) { problem = "\(error)" }
}
