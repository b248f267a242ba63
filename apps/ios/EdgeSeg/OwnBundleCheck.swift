import EdgeSegCore

/// The self-check of every artifact of the app's own bundle on the CPU, by file.
func checkOwnBundle() async throws -> [String: String] {
    let open = try BundleStore.openOwn()
    var said: [String: String] = [:]
    for artifact in open.bundle.artifacts {
        let engine = Engine()
        _ = try await engine.use(open, Choice(artifact: artifact, units: .cpu))
        said[artifact.file] = try await engine.check()?.description
    }
    return said
}
