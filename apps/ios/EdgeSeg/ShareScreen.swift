import EdgeSegCore
import SwiftUI
import UniformTypeIdentifiers

/// Writes the picture, its overlay and its segments as COCO panoptic JSON with its PNG, and hands them to the system.
struct ShareScreen: View {
    @EnvironmentObject private var model: AppModel
    @Environment(\.dismiss) private var dismiss
    @State private var files: [URL] = []

    var body: some View {
        NavigationStack {
            List(files, id: \.self) { Text($0.lastPathComponent) }
                .toolbar {
                    ToolbarItem(placement: .cancellationAction) { Button("Close") { dismiss() } }
                    ToolbarItem(placement: .confirmationAction) {
                        ShareLink("Share all", items: files).disabled(files.isEmpty)
                    }
                }
                .navigationTitle("Share")
        }
        .task { await write() }
    }

    private func write() async {
        guard let picture = model.picture else { return }
        do {
            files = try await Task.detached { try writeShared(picture) }.value
        } catch {
            model.problem = "the files cannot be written: \(error.localizedDescription); free some memory"
            dismiss()
        }
    }
}

/// photo.jpg, overlay.png, photo.json and photo.png, as docs/apps.md says.
private func writeShared(_ picture: Picture) throws -> [URL] {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("share")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    let photo = folder.appendingPathComponent("photo.jpg")
    let overlay = folder.appendingPathComponent("overlay.png")
    let segments = folder.appendingPathComponent("photo.json")
    let ids = folder.appendingPathComponent("photo.png")
    try write(picture.photoImage, to: photo, as: .jpeg)
    guard let flattened = picture.flattened() else { throw CocoaError(.fileWriteUnknown) }
    try write(flattened, to: overlay, as: .png)
    try Data(cocoPanoptic(picture.panoptic, name: "photo").line.utf8).write(to: segments, options: .atomic)
    try Data(writePNG(picture.panoptic.idPixels())).write(to: ids, options: .atomic)
    return [photo, overlay, segments, ids]
}

private func write(_ image: CGImage, to url: URL, as type: UTType) throws {
    guard let target = CGImageDestinationCreateWithURL(url as CFURL, type.identifier as CFString, 1, nil) else {
        throw CocoaError(.fileWriteUnknown)
    }
    CGImageDestinationAddImage(target, image, nil)
    guard CGImageDestinationFinalize(target) else { throw CocoaError(.fileWriteUnknown) }
}
