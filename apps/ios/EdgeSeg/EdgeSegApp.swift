import SwiftUI

@main
struct EdgeSegApp: App {
    @StateObject private var model = AppModel()
    @Environment(\.scenePhase) private var phase

    var body: some Scene {
        WindowGroup {
            MainScreen()
                .environmentObject(model)
                .task { await model.start() }
                .onChange(of: phase, initial: true) { _, now in model.isOnScreen = now == .active }
        }
    }
}
