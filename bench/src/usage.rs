//! CPU time and memory of processes and all their descendants, from `/proc`.

use std::collections::BTreeMap;

/// Clock ticks of `/proc/PID/stat` per second; Linux shows 100 to programs on every platform of ours.
const TICKS_PER_SECOND: f64 = 100.0;

/// What `/proc/PID/stat` says of a process.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Stat {
    parent: u32,
    /// User and system time of the process and of the children that it waited for, in ticks.
    ticks: u32,
}

/// Seconds of CPU time that the processes, their descendants, and those of their descendants that ended have used.
pub(crate) fn cpu_seconds(roots: &[u32]) -> f64 {
    let processes = processes();
    let family = family(&processes, roots);
    let ticks = family.iter().filter_map(|pid| processes.get(pid)).map(|stat| f64::from(stat.ticks));
    ticks.sum::<f64>() / TICKS_PER_SECOND
}

/// Resident megabytes (2^20) of the processes and their descendants. Pages that are shared count in each of them.
pub(crate) fn resident_mb(roots: &[u32]) -> f64 {
    family(&processes(), roots).iter().map(|pid| resident_kb(*pid)).sum::<f64>() / 1024.0
}

/// The processes that descend from these.
pub(crate) fn descendants(roots: &[u32]) -> Vec<u32> {
    family(&processes(), roots).split_off(roots.len())
}

fn resident_kb(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0.0)
}

fn processes() -> BTreeMap<u32, Stat> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    // A process may end between the listing and the look.
    let stat = |pid: u32| parse(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?);
    pids.filter_map(|pid| Some((pid, stat(pid)?))).collect()
}

/// The name of a process, in parentheses, may hold anything, so fields are counted from its end.
fn parse(text: &str) -> Option<Stat> {
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = fields.get(11..15)?.iter().filter_map(|field| field.parse::<u32>().ok()).sum();
    Some(Stat { parent: fields.get(1)?.parse().ok()?, ticks })
}

fn family(processes: &BTreeMap<u32, Stat>, roots: &[u32]) -> Vec<u32> {
    let mut found = roots.to_vec();
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        next += 1;
        found.extend(
            processes
                .iter()
                .filter(|(pid, stat)| stat.parent == parent && **pid != parent)
                .map(|(pid, _)| *pid),
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_with_an_odd_name_is_read() {
        let text = "7 (a) b) S 3 7 7 0 -1 4194560 1 2 3 4 50 6 10 4 20 0 1 0 5 6 7";
        assert_eq!(parse(text), Some(Stat { parent: 3, ticks: 70 }));
    }

    #[test]
    fn a_family_is_found_over_generations() {
        let of = |parent| Stat { parent, ticks: 1 };
        let processes = BTreeMap::from([(1, of(0)), (2, of(1)), (3, of(2)), (4, of(1)), (5, of(9))]);
        assert_eq!(family(&processes, &[2]), [2, 3]);
        assert_eq!(family(&processes, &[1]), [1, 2, 4, 3]);
    }

    #[test]
    fn this_process_uses_memory() {
        assert!(resident_mb(&[std::process::id()]) > 0.1);
    }
}
