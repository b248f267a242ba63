/// SHA-256 (FIPS 180-4) where CryptoKit is not to be had; on Apple systems `checksum` takes theirs.
struct PortableSHA256 {
    private var state: [UInt32] = [
        0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19,
    ]
    private var pending: [UInt8] = []
    private var length: UInt64 = 0

    mutating func update(_ bytes: [UInt8]) {
        length += UInt64(bytes.count)
        pending += bytes
        digestWholeBlocks()
    }

    /// 64 small hexadecimal digits.
    mutating func finish() -> String {
        let bits = length * 8
        pending.append(0x80)
        while pending.count % 64 != 56 { pending.append(0) }
        for shift in stride(from: 56, through: 0, by: -8) { pending.append(UInt8(truncatingIfNeeded: bits >> UInt64(shift))) }
        digestWholeBlocks()
        return state.map { word in
            let digits = String(word, radix: 16)
            return String(repeating: "0", count: 8 - digits.count) + digits
        }.joined()
    }

    private mutating func digestWholeBlocks() {
        let whole = pending.count / 64 * 64
        var words = [UInt32](repeating: 0, count: 64)
        pending.withUnsafeBufferPointer { bytes in
            for start in stride(from: 0, to: whole, by: 64) { Self.digest(bytes, start, &state, &words) }
        }
        pending.removeFirst(whole)
    }

    private static func digest(
        _ bytes: UnsafeBufferPointer<UInt8>, _ start: Int, _ state: inout [UInt32], _ w: inout [UInt32]
    ) {
        for t in 0..<16 {
            let at = start + 4 * t
            w[t] =
                UInt32(bytes[at]) << 24 | UInt32(bytes[at + 1]) << 16 | UInt32(bytes[at + 2]) << 8 | UInt32(bytes[at + 3])
        }
        for t in 16..<64 {
            let s0 = turn(w[t - 15], 7) ^ turn(w[t - 15], 18) ^ (w[t - 15] >> 3)
            let s1 = turn(w[t - 2], 17) ^ turn(w[t - 2], 19) ^ (w[t - 2] >> 10)
            w[t] = w[t - 16] &+ s0 &+ w[t - 7] &+ s1
        }
        var (a, b, c, d) = (state[0], state[1], state[2], state[3])
        var (e, f, g, h) = (state[4], state[5], state[6], state[7])
        for t in 0..<64 {
            let s1 = turn(e, 6) ^ turn(e, 11) ^ turn(e, 25)
            let t1 = h &+ s1 &+ ((e & f) ^ (~e & g)) &+ roundConstants[t] &+ w[t]
            let s0 = turn(a, 2) ^ turn(a, 13) ^ turn(a, 22)
            let t2 = s0 &+ ((a & b) ^ (a & c) ^ (b & c))
            (h, g, f, e, d, c, b, a) = (g, f, e, d &+ t1, c, b, a, t1 &+ t2)
        }
        for (i, value) in [a, b, c, d, e, f, g, h].enumerated() { state[i] &+= value }
    }

    private static func turn(_ value: UInt32, _ by: UInt32) -> UInt32 { value >> by | value << (32 - by) }

    /// The first 32 bits of the fractional parts of the cube roots of the first 64 primes.
    private static let roundConstants: [UInt32] = {
        var primes: [UInt64] = []
        var candidate: UInt64 = 2
        while primes.count < 64 {
            if !primes.contains(where: { candidate % $0 == 0 }) { primes.append(candidate) }
            candidate += 1
        }
        return primes.map { prime in
            // The largest r with r^3 <= prime 2^96 is the root times 2^32; its low half is the fraction.
            var root: UInt64 = 0
            for bit in stride(from: UInt64(34), through: 0, by: -1) {
                let trial = root | 1 << bit
                if isCube(trial, atMost: prime) { root = trial }
            }
            return UInt32(truncatingIfNeeded: root)
        }
    }()

    /// Whether value^3 <= limit 2^96, in 192 bits.
    private static func isCube(_ value: UInt64, atMost limit: UInt64) -> Bool {
        let square = value.multipliedFullWidth(by: value)
        let low = value.multipliedFullWidth(by: square.low)
        let high = value.multipliedFullWidth(by: square.high)
        let (middle, carry) = low.high.addingReportingOverflow(high.low)
        let top = high.high + (carry ? 1 : 0)
        let (limitTop, limitMiddle) = (limit >> 32, limit << 32)
        if top != limitTop { return top < limitTop }
        return middle < limitMiddle || (middle == limitMiddle && low.low == 0)
    }
}
