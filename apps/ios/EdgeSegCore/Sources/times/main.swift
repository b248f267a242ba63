import EdgeSegCore

/// Times what is ours around a runtime, on one thread: swift run -c release times.

func report(_ name: String, _ work: () -> Void) {
    for _ in 0..<20 { work() }
    let samples = (0..<100).map { _ in
        let started = ContinuousClock.now
        work()
        return milliseconds(ContinuousClock.now - started)
    }
    guard let latency = Latency(samples) else { return }
    let rounded = [latency.p50Ms, latency.p90Ms].map { ($0 * 100).rounded() / 100 }
    print("\(name): p50 \(rounded[0]) ms, p90 \(rounded[1]) ms")
}

var random = SystemRandomNumberGenerator()
let network = Size(height: 512, width: 512)
let photo = Size(height: 1080, width: 1920)
let categories = (0..<20).map {
    PanopticCategory(id: $0, name: "category \($0)", isThing: $0 < 10, color: packRGB(12 * $0, 255 - 12 * $0, 7 * $0))
}

// A map of 16 x 16 patches, far busier than a photo.
let slotOf = (0..<17 * 17).map { _ in UInt8(Int.random(in: 0..<64, using: &random)) }
let merged = Merged(
    mapSize: Size(height: 256, width: 256), slotMap: (0..<256 * 256).map { slotOf[$0 / 256 / 16 * 17 + $0 % 256 / 16] },
    slotCategory: (0..<64).map { $0 % categories.count }, slotScore: [Float](repeating: 0.9, count: 64))
let placement = Placement(photo: photo, network: network, upsample: 2)
report("post + draw at 1920x1080, 256x256 map of 64 slots, outlines") {
    precondition(paintOverlay(Panoptic(merged, placement, categories), opacity: 0.5, outlines: true).count == photo.area)
}

let letterbox = Letterbox(photo: Size(height: 720, width: 1280), network: network)
let frame = RGBImage(
    size: letterbox.photo, pixels: (0..<letterbox.photo.area).map { _ in UInt32.random(in: 0...UInt32.max, using: &random) })
report("pre, 1280x720 to 512x512") { precondition(letterbox.apply(frame).count == 3 * network.area) }

let logits = (0..<64 * 64 * 64).map { _ in Float.random(in: -4...4, using: &random) }
let classes = (0..<64 * 21).map { $0 % 21 == 20 ? Float(0) : Float.random(in: -4...4, using: &random) }
let rule = MergeRule(thingThreshold: 0.2, stuffThreshold: 0.2, minArea: 0, upsample: 2)
report("merge in the app, 64 slots, 64x64 to 128x128") {
    let answer = mergeSlots(
        classLogits: classes, maskLogits: logits, logitsSize: Size(height: 64, width: 64), rule: rule,
        isThing: categories.map(\.isThing))
    precondition(answer.mapSize.area == 128 * 128)
}
