plugins {
    alias(libs.plugins.android.application)
}

android {
    namespace = "edgeseg.app"
    compileSdk = 36

    defaultConfig {
        applicationId = "edgeseg.app"
        minSdk = 26
        targetSdk = 36
        versionCode = 1
        versionName = "1.0"
        ndk {
            // Phones; for an emulator on a PC: gradle -Pabi=x86_64
            abiFilters += providers.gradleProperty("abi").getOrElse("arm64-v8a")
        }
    }

    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_17
        targetCompatibility = JavaVersion.VERSION_17
    }

    androidResources {
        // The runtimes' files are compressed already as far as they can be, and are copied out once.
        noCompress += listOf("pte", "tflite", "npz")
        // What of a bundle other runtimes read; the app does without it.
        ignoreAssetsPatterns += listOf("!*.onnx", "!*.safetensors", "!<dir>*.mlpackage")
    }
}

dependencies {
    implementation(project(":core"))
    implementation(libs.serialization.json)
    implementation(libs.executorch)
    implementation(libs.litert)
    implementation(libs.litert.gpu)
}
