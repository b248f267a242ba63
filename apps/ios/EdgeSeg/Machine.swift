import EdgeSegCore
import UIKit

@MainActor
func thisDevice() -> Device {
    Device(
        name: machineName(), cores: ProcessInfo.processInfo.activeProcessorCount,
        os: "\(UIDevice.current.systemName) \(UIDevice.current.systemVersion)", machine: "arm64",
        memoryMib: Int(ProcessInfo.processInfo.physicalMemory >> 20))
}

/// True in the simulator: its times are no latencies.
var isSimulator: Bool {
    #if targetEnvironment(simulator)
        true
    #else
        false
    #endif
}

/// Memory that the system counts for this process, now and at most so far.
func memoryMib() -> (now: Double, peak: Double) {
    var info = task_vm_info_data_t()
    var count = mach_msg_type_number_t(MemoryLayout<task_vm_info_data_t>.size / MemoryLayout<natural_t>.size)
    let result = withUnsafeMutablePointer(to: &info) { pointer in
        pointer.withMemoryRebound(to: integer_t.self, capacity: Int(count)) {
            task_info(mach_task_self_, task_flavor_t(TASK_VM_INFO), $0, &count)
        }
    }
    guard result == KERN_SUCCESS else { return (0, 0) }
    return (Double(info.resident_size) / 1_048_576, Double(info.resident_size_peak) / 1_048_576)
}

/// Apple's name of the model, such as "iPhone15,2".
private func machineName() -> String {
    var system = utsname()
    uname(&system)
    return withUnsafeBytes(of: &system.machine) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
}
