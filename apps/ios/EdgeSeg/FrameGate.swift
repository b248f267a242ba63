import Foundation

/// Lets one frame in at a time; the others are dropped, so the picture is never behind the camera.
final class FrameGate: @unchecked Sendable {
    private let lock = NSLock()
    private var isTaken = false

    func enter() -> Bool {
        lock.withLock {
            if isTaken { return false }
            isTaken = true
            return true
        }
    }

    func leave() { lock.withLock { isTaken = false } }
}
