// What the checked files use of those that need SwiftUI, Core Graphics or UIKit, and of Foundation on Apple systems only.
import CoreML
import EdgeSegCore

func makePixelBuffer(_ size: Size) throws -> CVPixelBuffer { fatalError() }
func fill(_ buffer: CVPixelBuffer, with rgb: [UInt8], size: Size) {}
@MainActor func thisDevice() -> Device { fatalError() }
var isSimulator: Bool { fatalError() }
func memoryMib() -> (now: Double, peak: Double) { fatalError() }

struct Look {}

struct Picture: @unchecked Sendable {
    init?(_ photo: RGBImage, _ panoptic: Panoptic, _ look: Look) {}
}

extension URL {
    static var documentsDirectory: URL { fatalError() }
    func startAccessingSecurityScopedResource() -> Bool { fatalError() }
    func stopAccessingSecurityScopedResource() {}
}
