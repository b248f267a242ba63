/// The part of the network's input that a photo of this size fills, at the top left (docs/merge.md).
public func fittedSize(photo: Size, network: Size) -> Size {
    let (height, width) = (photo.height, photo.width)
    if height * network.width >= width * network.height {
        return Size(height: network.height, width: max(1, (2 * width * network.height + height) / (2 * height)))
    }
    return Size(height: max(1, (2 * height * network.width + width) / (2 * width)), width: network.width)
}

/// Scales a photo into the network's input (apps/spec/README.md, "Letterbox"): top left, zeros right and below.
///
/// Holds what depends on the sizes only, so that a camera's frames share it.
public struct Letterbox: Sendable {
    public let photo: Size
    public let network: Size
    public let fitted: Size
    private let rows: Taps
    private let columns: Taps

    public init(photo: Size, network: Size) {
        self.photo = photo
        self.network = network
        fitted = fittedSize(photo: photo, network: network)
        let isShrinking = fitted.height < photo.height
        rows = Taps(photo: photo.height, fitted: fitted.height, isShrinking: isShrinking)
        columns = Taps(photo: photo.width, fitted: fitted.width, isShrinking: isShrinking)
    }

    /// (height, width, 3) uint8 RGB bytes.
    public func apply(_ image: RGBImage) -> [UInt8] {
        precondition(image.size == photo, "a letterbox for \(photo) was given \(image.size)")
        var input = [UInt8](repeating: 0, count: 3 * network.area)
        var scaledRow = [Int](repeating: 0, count: 3 * fitted.width)
        var sums = [Int](repeating: 0, count: 3 * fitted.width)
        image.pixels.withUnsafeBufferPointer { pixels in
            input.withUnsafeMutableBufferPointer { input in
                scaledRow.withUnsafeMutableBufferPointer { scaledRow in
                    sums.withUnsafeMutableBufferPointer { sums in fill(input, from: pixels, scaledRow, sums) }
                }
            }
        }
        return input
    }

    private func fill(
        _ input: UnsafeMutableBufferPointer<UInt8>, from pixels: UnsafeBufferPointer<UInt32>,
        _ scaledRow: UnsafeMutableBufferPointer<Int>, _ sums: UnsafeMutableBufferPointer<Int>
    ) {
        let total = rows.total * columns.total
        var held = -1  // the photo row that scaledRow holds
        for y in 0..<fitted.height {
            sums.update(repeating: 0)
            for tap in rows.start[y]..<rows.start[y + 1] {
                if rows.source[tap] != held {
                    held = rows.source[tap]
                    scale(UnsafeBufferPointer(rebasing: pixels[held * photo.width..<(held + 1) * photo.width]), scaledRow)
                }
                let weight = rows.weight[tap]
                for x in 0..<sums.count { sums[x] &+= weight &* scaledRow[x] }
            }
            let start = 3 * y * network.width
            for x in 0..<sums.count { input[start + x] = UInt8((2 * sums[x] + total) / (2 * total)) }
        }
    }

    private func scale(_ pixels: UnsafeBufferPointer<UInt32>, _ into: UnsafeMutableBufferPointer<Int>) {
        columns.source.withUnsafeBufferPointer { source in
            columns.weight.withUnsafeBufferPointer { weights in
                for x in 0..<fitted.width {
                    var (reds, greens, blues) = (0, 0, 0)
                    for tap in columns.start[x]..<columns.start[x + 1] {
                        let (pixel, weight) = (pixels[source[tap]], weights[tap])
                        reds &+= weight &* red(pixel)
                        greens &+= weight &* green(pixel)
                        blues &+= weight &* blue(pixel)
                    }
                    into[3 * x] = reds
                    into[3 * x + 1] = greens
                    into[3 * x + 2] = blues
                }
            }
        }
    }
}

/// Output i takes source[t] with weight[t] for t in start[i]..<start[i + 1]; its weights sum to `total`.
private struct Taps {
    var start = [0]
    var source: [Int] = []
    var weight: [Int] = []
    let total: Int

    init(photo: Int, fitted: Int, isShrinking: Bool) {
        total = isShrinking ? photo : 2 * fitted
        for y in 0..<fitted {
            if isShrinking { cover(y, photo, fitted) } else { interpolate(y, photo, fitted) }
            start.append(source.count)
        }
    }

    /// Output y covers [y photo, (y + 1) photo), input i [i fitted, (i + 1) fitted).
    private mutating func cover(_ y: Int, _ photo: Int, _ fitted: Int) {
        let (from, until) = (y * photo, (y + 1) * photo)
        for i in from / fitted...(until - 1) / fitted {
            source.append(i)
            weight.append(min(until, (i + 1) * fitted) - max(from, i * fitted))
        }
    }

    /// Between pixel centres; the last input repeats.
    private mutating func interpolate(_ y: Int, _ photo: Int, _ fitted: Int) {
        let position = max(0, (2 * y + 1) * photo - fitted)
        let first = position / (2 * fitted)
        let next = position % (2 * fitted)
        source += [first, min(first + 1, photo - 1)]
        weight += [2 * fitted - next, next]
    }
}
