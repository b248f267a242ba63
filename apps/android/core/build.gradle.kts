plugins {
    alias(libs.plugins.kotlin.jvm)
}

kotlin {
    compilerOptions {
        jvmTarget = org.jetbrains.kotlin.gradle.dsl.JvmTarget.JVM_17
        allWarningsAsErrors = true
    }
}

java {
    sourceCompatibility = JavaVersion.VERSION_17
    targetCompatibility = JavaVersion.VERSION_17
}

dependencies {
    implementation(libs.serialization.json)
    testImplementation(libs.junit)
    testImplementation(libs.kotlin.test.junit)
}

// Where edgeseg wrote this project the specification is not beside it: edgeseg's own checkout runs these tests.
val spec = rootDir.resolve("../spec")

tasks.test {
    systemProperty("edgeseg.spec", spec.path)
    onlyIf("apps/spec is beside this project") { spec.isDirectory }
}
