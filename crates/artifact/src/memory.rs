//! How much memory the process has used.

/// The peak resident memory of this process in bytes; `None` where the system does not tell (anything but Linux).
pub fn peak_memory_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #[test]
    fn peak_is_plausible() {
        let peak = super::peak_memory_bytes().unwrap();
        assert!((1 << 18..1 << 40).contains(&peak), "{peak}");
    }
}
