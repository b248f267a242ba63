import AVFoundation
import EdgeSegCore

/// The back camera's frames, upright however the phone is held.
final class CameraFeed: NSObject, AVCaptureVideoDataOutputSampleBufferDelegate, @unchecked Sendable {
    enum State: Equatable, Sendable {
        case stopped, running, refused
        case problem(String)
    }

    /// Called on the camera's queue; frames are dropped while it runs.
    var onFrame: (@Sendable (CVPixelBuffer) -> Void)?
    /// Called on the main queue.
    var onState: (@MainActor (State) -> Void)?

    private let session = AVCaptureSession()
    private let output = AVCaptureVideoDataOutput()
    private let queue = DispatchQueue(label: "camera")
    private var coordinator: AVCaptureDevice.RotationCoordinator?
    private var observations: [any NSObjectProtocol] = []
    private var turning: NSKeyValueObservation?

    /// Asks for permission at the first time.
    func start() async {
        guard await AVCaptureDevice.requestAccess(for: .video) else { return tell(.refused) }
        queue.async { [self] in
            if session.inputs.isEmpty, let problem = configure() { return tell(.problem(problem)) }
            session.startRunning()
            tell(session.isRunning ? .running : .problem("the camera does not start; close apps that use it"))
        }
    }

    func stop() {
        queue.async { [self] in
            session.stopRunning()
            tell(.stopped)
        }
    }

    func captureOutput(_ output: AVCaptureOutput, didOutput buffer: CMSampleBuffer, from connection: AVCaptureConnection) {
        if let pixels = CMSampleBufferGetImageBuffer(buffer) { onFrame?(pixels) }
    }

    /// What is wrong, nil if nothing.
    private func configure() -> String? {
        guard let device = AVCaptureDevice.default(.builtInWideAngleCamera, for: .video, position: .back) else {
            return "this device has no back camera; choose a photo"
        }
        session.beginConfiguration()
        defer { session.commitConfiguration() }
        if session.canSetSessionPreset(.hd1280x720) { session.sessionPreset = .hd1280x720 }
        output.videoSettings = [kCVPixelBufferPixelFormatTypeKey as String: kCVPixelFormatType_32BGRA]
        output.alwaysDiscardsLateVideoFrames = true
        output.setSampleBufferDelegate(self, queue: queue)
        guard let input = try? AVCaptureDeviceInput(device: device), session.canAddInput(input), session.canAddOutput(output)
        else { return "the camera is taken by another app; close it, or choose a photo" }
        session.addInput(input)
        session.addOutput(output)
        follow(device)
        observe()
        return nil
    }

    private func follow(_ device: AVCaptureDevice) {
        let coordinator = AVCaptureDevice.RotationCoordinator(device: device, previewLayer: nil)
        self.coordinator = coordinator
        turning = coordinator.observe(\.videoRotationAngleForHorizonLevelCapture, options: [.initial, .new]) {
            [weak self] coordinator, _ in
            let angle = coordinator.videoRotationAngleForHorizonLevelCapture
            self?.queue.async { self?.turn(to: angle) }
        }
    }

    private func turn(to angle: CGFloat) {
        guard let connection = output.connection(with: .video), connection.isVideoRotationAngleSupported(angle) else { return }
        connection.videoRotationAngle = angle
    }

    private func observe() {
        let center = NotificationCenter.default
        observations = [
            center.addObserver(forName: AVCaptureSession.wasInterruptedNotification, object: session, queue: nil) {
                [weak self] _ in self?.tell(.problem("the camera was taken by another app or a call; it comes back by itself"))
            },
            center.addObserver(forName: AVCaptureSession.interruptionEndedNotification, object: session, queue: nil) {
                [weak self] _ in self?.tell(.running)
            },
            center.addObserver(forName: AVCaptureSession.runtimeErrorNotification, object: session, queue: nil) {
                [weak self] note in
                let error = note.userInfo?[AVCaptureSessionErrorKey] as? NSError
                self?.tell(.problem("the camera stopped: \(error?.localizedDescription ?? "no reason given"); start it again"))
            },
        ]
    }

    private func tell(_ state: State) {
        DispatchQueue.main.async { self.onState?(state) }
    }
}
