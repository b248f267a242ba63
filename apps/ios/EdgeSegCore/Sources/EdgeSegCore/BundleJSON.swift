/// Reads the text of a bundle.json; keys that are unknown are no error.
///
/// - Throws: ``BundleError`` of the kinds that apps/spec/README.md lists.
public func parseBundle(_ text: String) throws -> ModelBundle {
    guard let root = try? JSON(parsing: text) else {
        throw BundleError(.notJSON, "bundle.json is not JSON (truncated?); copy the bundle again")
    }
    var version: String?
    if case .object(let table) = root, case .text(let said)? = table["schema_version"] { version = said }
    guard let version, version.hasPrefix("1.") else {
        let said = version.map { "schema \($0)" } ?? "no schema_version"
        throw BundleError(.otherSchema, "bundle.json has \(said), this app reads 1.x; update the app")
    }
    return try readBundle(Node(value: root, place: "bundle.json"))
}

private func readBundle(_ root: Node) throws -> ModelBundle {
    let input = try root["input"]
    let size = try input["size"].wholes(2)
    try input["size"].require(size.allSatisfy { $0 > 0 && $0 % 4 == 0 }, "two positive multiples of 4")
    for (key, wanted) in [("layout", "NHWC"), ("dtype", "uint8"), ("channels", "RGB"), ("fit", "letterbox")] {
        try input[key].require(try input[key].text() == wanted, wanted)
    }
    _ = try root["normalisation"].text()
    for key in ["outputs", "config", "metrics", "tools"] { _ = try root[key].table() }
    let numSlots = try root["num_slots"].whole()
    try root["num_slots"].require((1...maxSlots).contains(numSlots), "1 to \(maxSlots)")
    let categories = try root["categories"].nodes().enumerated().map { try readCategory($1, index: $0) }
    try root["categories"].require(!categories.isEmpty, "at least one category")
    let artifacts = try root["artifacts"].nodes().map(readArtifact)
    try root["artifacts"].require(!artifacts.isEmpty, "at least one artifact")
    var sha256ByFile: [String: String] = [:]
    for (file, sum) in try root["files"].table() { sha256ByFile[try inside(file)] = try sum.text() }
    for artifact in artifacts { sha256ByFile[artifact.file] = artifact.sha256 }
    return ModelBundle(
        name: try root["name"].text(), inputName: try input["name"].text(),
        inputSize: Size(height: size[0], width: size[1]), numSlots: numSlots, categories: categories,
        merge: try readMerge(root["merge"]), licence: try root["licence"].text(), artifacts: artifacts,
        sha256ByFile: sha256ByFile)
}

private func readMerge(_ node: Node) throws -> MergeRule {
    let upsample = try node["upsample"].whole()
    try node["upsample"].require([1, 2, 4].contains(upsample), "1, 2 or 4")
    return MergeRule(
        thingThreshold: Float(try node["thing_threshold"].number()),
        stuffThreshold: Float(try node["stuff_threshold"].number()), minArea: try node["min_area"].whole(),
        upsample: upsample)
}

private func readCategory(_ node: Node, index: Int) throws -> PanopticCategory {
    try node["index"].require(try node["index"].whole() == index, "\(index)")
    let color = try node["color"].wholes(3)
    try node["color"].require(color.allSatisfy((0...255).contains), "three of 0 to 255")
    return PanopticCategory(
        id: try node["id"].whole(), name: try node["name"].text(), isThing: try node["is_thing"].bool(),
        color: packRGB(color[0], color[1], color[2]))
}

private func readArtifact(_ node: Node) throws -> Artifact {
    for key in ["coverage", "verify"] { _ = try node[key].table() }
    let merge = MergePlace(rawValue: try node["merge"].text())
    guard let merge else { throw try node["merge"].mistyped("graph or app") }
    return Artifact(
        file: try inside(try node["file"].text()), runtime: try node["runtime"].text(),
        precision: try node["precision"].text(), merge: merge, input: try node["input"].text(),
        bytes: try node["bytes"].whole(), sha256: try node["sha256"].text())
}

/// Refuses a path that leaves the bundle's folder.
private func inside(_ path: String) throws -> String {
    let parts = path.split(omittingEmptySubsequences: false) { $0 == "/" || $0 == "\\" }
    if parts[0].isEmpty || parts[0].contains(":") || parts.contains("..") {
        throw BundleError(.outside, "bundle.json lists '\(path)', which is outside the bundle; do not trust it")
    }
    return path
}

/// A JSON value that knows where it stands, so that an error can name it.
private struct Node {
    let value: JSON
    let place: String

    subscript(key: String) -> Node {
        get throws {
            guard let node = try table()[key] else { throw misshapen("\(place).\(key) is missing") }
            return node
        }
    }

    func require(_ holds: Bool, _ wanted: String) throws {
        if !holds { throw mistyped(wanted) }
    }

    func table() throws -> [String: Node] {
        guard case .object(let table) = value else { throw mistyped("an object") }
        return Dictionary(uniqueKeysWithValues: table.map { ($0, Node(value: $1, place: "\(place).\($0)")) })
    }

    func nodes() throws -> [Node] {
        guard case .list(let list) = value else { throw mistyped("a list") }
        return list.enumerated().map { Node(value: $1, place: "\(place)[\($0)]") }
    }

    func text() throws -> String {
        guard case .text(let text) = value else { throw mistyped("a text") }
        return text
    }

    func bool() throws -> Bool {
        guard case .bool(let bool) = value else { throw mistyped("true or false") }
        return bool
    }

    func number() throws -> Double {
        guard case .number(let number) = value else { throw mistyped("a number") }
        return number
    }

    func whole() throws -> Int {
        guard case .number(let number) = value, let whole = Int(exactly: number) else {
            throw mistyped("a whole number")
        }
        return whole
    }

    func wholes(_ count: Int) throws -> [Int] {
        let nodes = try nodes()
        try require(nodes.count == count, "\(count) whole numbers")
        return try nodes.map { try $0.whole() }
    }

    func mistyped(_ wanted: String) -> BundleError { misshapen("\(place) is \(value.line.prefix(60)), not \(wanted)") }

    private func misshapen(_ what: String) -> BundleError {
        BundleError(.misshapen, "\(what); export the bundle again")
    }
}
