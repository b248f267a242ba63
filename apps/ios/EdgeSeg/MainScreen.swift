import EdgeSegCore
import PhotosUI
import SwiftUI

/// Camera or photo with its segments; the legend stands below it, or beside it in landscape.
struct MainScreen: View {
    @EnvironmentObject private var model: AppModel
    @State private var photo: PhotosPickerItem?
    @State private var isSharing = false

    var body: some View {
        NavigationStack {
            GeometryReader { space in
                let layout =
                    space.size.width > space.size.height
                    ? AnyLayout(HStackLayout(spacing: 0)) : AnyLayout(VStackLayout(spacing: 0))
                layout {
                    PictureView().frame(maxWidth: .infinity, maxHeight: .infinity)
                    LegendView()
                        .frame(
                            maxWidth: space.size.width > space.size.height ? space.size.width / 3 : .infinity,
                            maxHeight: space.size.width > space.size.height ? .infinity : space.size.height / 3)
                }
            }
            .safeAreaInset(edge: .top) { StatusView() }
            .toolbar { buttons }
            .alert("Something went wrong", isPresented: hasProblem, presenting: model.problem) { _ in
                Button("OK") { model.problem = nil }
            } message: {
                Text($0)
            }
            .sheet(isPresented: $isSharing) { ShareScreen() }
            .onChange(of: photo) { _, item in load(item) }
        }
    }

    @ToolbarContentBuilder private var buttons: some ToolbarContent {
        ToolbarItemGroup(placement: .bottomBar) {
            Button {
                model.isFrozen.toggle()
            } label: {
                Label(model.isFrozen ? "Camera" : "Freeze", systemImage: model.isFrozen ? "camera" : "pause")
            }
            Spacer()
            PhotosPicker(selection: $photo, matching: .images) { Label("Photo", systemImage: "photo") }
            Spacer()
            Button {
                model.isFrozen = true
                isSharing = true
            } label: {
                Label("Share", systemImage: "square.and.arrow.up")
            }
            .disabled(model.picture == nil)
            Spacer()
            NavigationLink {
                SettingsScreen()
            } label: {
                Label("Settings", systemImage: "slider.horizontal.3")
            }
        }
    }

    private var hasProblem: Binding<Bool> {
        Binding(get: { model.problem != nil }, set: { if !$0 { model.problem = nil } })
    }

    private func load(_ item: PhotosPickerItem?) {
        guard let item else { return }
        Task {
            if let data = try? await item.loadTransferable(type: Data.self) {
                await model.show(photo: data)
            } else {
                model.problem = "the photo cannot be read (is it still in the cloud?); choose another"
            }
            photo = nil
        }
    }
}
