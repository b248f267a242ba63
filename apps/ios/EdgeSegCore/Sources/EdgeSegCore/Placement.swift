/// The way back: which cell of the slot map each pixel of the photo reads (docs/merge.md).
///
/// Photo pixels that read the same cell row or column stand together; a *run* is one such stretch. Statistics and overlay
/// work on runs, not on pixels.
public struct Placement: Sendable {
    public let photo: Size
    public let fitted: Size
    public let rows: [Int]
    public let columns: [Int]
    /// First pixel of each run, then the end of the last one.
    let rowStarts: [Int]
    let columnStarts: [Int]

    public init(photo: Size, network: Size, upsample: Int) {
        self.photo = photo
        let fitted = fittedSize(photo: photo, network: network)
        let factor = logitsStride / upsample
        self.fitted = fitted
        rows = (0..<photo.height).map { (2 * $0 + 1) * fitted.height / (2 * photo.height * factor) }
        columns = (0..<photo.width).map { (2 * $0 + 1) * fitted.width / (2 * photo.width * factor) }
        rowStarts = Self.starts(rows)
        columnStarts = Self.starts(columns)
    }

    private static func starts(_ sources: [Int]) -> [Int] {
        sources.indices.filter { $0 == 0 || sources[$0] != sources[$0 - 1] } + [sources.count]
    }
}
