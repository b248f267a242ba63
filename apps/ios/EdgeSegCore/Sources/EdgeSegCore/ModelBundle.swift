/// Rows and columns, of pixels or cells.
public struct Size: Hashable, Sendable, CustomStringConvertible {
    public let height: Int
    public let width: Int

    public init(height: Int, width: Int) {
        self.height = height
        self.width = width
    }

    public var area: Int { height * width }
    public var description: String { "\(height)x\(width)" }
}

/// One entry of the bundle's category list; `color` is packed 0xFFRRGGBB.
public struct PanopticCategory: Equatable, Sendable {
    public let id: Int
    public let name: String
    public let isThing: Bool
    public let color: UInt32

    public init(id: Int, name: String, isThing: Bool, color: UInt32) {
        self.id = id
        self.name = name
        self.isThing = isThing
        self.color = color
    }
}

/// Thresholds of the panoptic merge (docs/merge.md); `minArea` counts pixels of the network's input.
public struct MergeRule: Equatable, Sendable {
    public let thingThreshold: Float
    public let stuffThreshold: Float
    public let minArea: Int
    public let upsample: Int

    public init(thingThreshold: Float, stuffThreshold: Float, minArea: Int, upsample: Int) {
        self.thingThreshold = thingThreshold
        self.stuffThreshold = stuffThreshold
        self.minArea = minArea
        self.upsample = upsample
    }
}

public enum MergePlace: String, Sendable { case graph, app }

/// One file for one runtime at one precision.
public struct Artifact: Hashable, Sendable {
    public let file: String
    public let runtime: String
    public let precision: String
    public let merge: MergePlace
    public let input: String
    public let bytes: Int
    public let sha256: String

    public init(
        file: String, runtime: String, precision: String, merge: MergePlace, input: String, bytes: Int, sha256: String
    ) {
        self.file = file
        self.runtime = runtime
        self.precision = precision
        self.merge = merge
        self.input = input
        self.bytes = bytes
        self.sha256 = sha256
    }
}

/// What bundle.json says (docs/bundle.md).
public struct ModelBundle: Sendable {
    public let name: String
    public let inputName: String
    public let inputSize: Size
    public let numSlots: Int
    public let categories: [PanopticCategory]
    public let merge: MergeRule
    public let licence: String
    public internal(set) var artifacts: [Artifact]
    public let sha256ByFile: [String: String]

    /// Logits are at a quarter of the input (docs/merge.md).
    public var logitsSize: Size { Size(height: inputSize.height / logitsStride, width: inputSize.width / logitsStride) }

    public var mapSize: Size {
        Size(height: logitsSize.height * merge.upsample, width: logitsSize.width * merge.upsample)
    }
}

/// Why a bundle cannot be used, in one line for people; `kind` is the word of apps/spec.
public struct BundleError: Error, CustomStringConvertible {
    public enum Kind: String, Sendable {
        case notJSON = "not_json"
        case otherSchema = "other_schema"
        case misshapen, outside, missing, changed
    }

    public let kind: Kind
    public let description: String

    public init(_ kind: Kind, _ description: String) {
        self.kind = kind
        self.description = description
    }
}

public let logitsStride = 4
public let voidSlot = 255
public let maxSlots = 254
