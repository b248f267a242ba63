// swift-tools-version: 6.0
import PackageDescription

let package = Package(
    name: "EdgeSegCore",
    platforms: [.iOS(.v18), .macOS(.v15)],
    products: [.library(name: "EdgeSegCore", targets: ["EdgeSegCore"])],
    targets: [
        .target(name: "EdgeSegCore"),
        .executableTarget(name: "times", dependencies: ["EdgeSegCore"]),
        .testTarget(name: "EdgeSegCoreTests", dependencies: ["EdgeSegCore"]),
    ]
)
