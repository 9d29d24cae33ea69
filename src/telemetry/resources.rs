//! What the process takes of the machine.

use std::fs;
use std::path::Path;
use std::time::Duration;

use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage};
use nix::sys::statvfs::statvfs;

/// What the process has used, or holds now.
#[derive(Clone, Copy, Debug)]
pub struct Resources {
    /// CPU time of all threads, the system's on their behalf included.
    pub cpu: Duration,
    /// Memory in use, and address space, in bytes.
    pub memory: Option<(u64, u64)>,
    /// Threads.
    pub threads: Option<u64>,
    /// Files, sockets and pipes that are open.
    pub open_files: Option<u64>,
    /// How many may be.
    pub most_files: Option<u64>,
}

impl Resources {
    /// As of now; `None` where the system does not say. Without `/proc` nothing is known but CPU time and limits.
    pub fn now() -> Option<Resources> {
        let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
        let time = |value: nix::sys::time::TimeVal| {
            Duration::from_secs(value.tv_sec().unsigned_abs()) + Duration::from_micros(value.tv_usec().unsigned_abs())
        };
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let number = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            line.split_whitespace().next()?.parse::<u64>().ok()
        };
        Some(Resources {
            cpu: time(usage.user_time()) + time(usage.system_time()),
            memory: number("VmRSS").zip(number("VmSize")).map(|(resident, virtual_memory)| (resident << 10, virtual_memory << 10)),
            threads: number("Threads"),
            // The one by which they are listed is among them.
            open_files: fs::read_dir("/proc/self/fd").ok().map(|files| files.count().saturating_sub(1) as u64),
            most_files: getrlimit(Resource::RLIMIT_NOFILE).ok().map(|(soft, _)| soft),
        })
    }
}

/// Bytes that are free for this user where a folder is.
pub fn free_bytes(folder: &Path) -> Option<u64> {
    let disk = statvfs(folder).ok()?;
    Some((disk.blocks_available() as u64).saturating_mul(disk.fragment_size() as u64))
}
