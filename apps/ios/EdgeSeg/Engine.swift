import EdgeSegCore
import Foundation

/// Loads artifacts and segments pictures, one thing after the other and off the main thread.
///
/// Changing what runs waits for the picture in progress; a rotation or a swapped bundle never meets it half way.
actor Engine {
    private struct Loaded {
        let open: OpenBundle
        let choice: Choice
        let segmenter: any Segmenter
    }

    private var loaded: Loaded?
    private var numUses = 0
    private var letterbox: Letterbox?
    private var placement: Placement?
    private var times = StageTimes()

    /// Replaces what runs; gives the runtime's version with what it obtained.
    ///
    /// - Throws: ``SegmenterError``; what ran before goes on. `CancellationError` if a later call came first.
    func use(_ open: OpenBundle, _ choice: Choice) async throws -> String {
        numUses += 1
        let number = numUses
        let load = try await Runtimes.prepare(open, choice)
        guard number == numUses else { throw CancellationError() }
        let segmenter = try load()
        loaded = Loaded(open: open, choice: choice, segmenter: segmenter)
        forgetSizes()
        times.clear()
        return segmenter.runtimeVersion
    }

    /// Runs the bundle's golden pictures; nil if nothing is loaded.
    func check() throws -> SelfCheck? {
        guard let loaded else { return nil }
        let bundle = loaded.open.bundle
        let shares = try readGoldens(loaded.open, precision: loaded.choice.artifact.precision).map { golden in
            let input = Letterbox(photo: golden.picture.size, network: bundle.inputSize).apply(golden.picture)
            return agreement(try loaded.segmenter.run(input), golden.expected)
        }
        return SelfCheck(artifact: loaded.choice.artifact, pixelsEqual: shares)
    }

    /// Segments a picture; nil if nothing is loaded or memory is out.
    ///
    /// - Throws: ``SegmenterError``; then nothing is loaded any more, or every frame would say it again.
    func segment(_ photo: RGBImage, captureMs: Double?, _ look: Look) throws -> Picture? {
        guard let loaded else { return nil }
        let bundle = loaded.open.bundle
        if let captureMs { times.add(.capture, ms: captureMs) }
        do {
            let letterbox = letterbox(for: photo.size, bundle)
            let placement = placement(for: photo.size, bundle)
            let input = times.measure(.pre) { letterbox.apply(photo) }
            let merged = try times.measure(.run) { try loaded.segmenter.run(input) }
            let panoptic = times.measure(.post) { Panoptic(merged, placement, bundle.categories) }
            return times.measure(.draw) { Picture(photo, panoptic, look) }
        } catch {
            self.loaded = nil
            throw error
        }
    }

    func recentTimes() -> [Stage: Latency] { times.recent() }

    /// For low memory and for the benchmark, which loads for itself.
    func unload() {
        numUses += 1
        loaded = nil
        forgetSizes()
    }

    private func forgetSizes() {
        letterbox = nil
        placement = nil
    }

    private func letterbox(for photo: Size, _ bundle: ModelBundle) -> Letterbox {
        if let letterbox, letterbox.photo == photo { return letterbox }
        let made = Letterbox(photo: photo, network: bundle.inputSize)
        letterbox = made
        return made
    }

    private func placement(for photo: Size, _ bundle: ModelBundle) -> Placement {
        if let placement, placement.photo == photo { return placement }
        let made = Placement(photo: photo, network: bundle.inputSize, upsample: bundle.merge.upsample)
        placement = made
        return made
    }
}
