//! The CPUs that this process may run on. glommio's own placements see all CPUs of the machine, whatever mask
//! the process was started with.

use std::io;

use super::StartError;

/// The CPUs of this process's affinity mask, ascending; at least one.
pub(super) fn allowed_cpus() -> Result<Vec<usize>, StartError> {
    let status = std::fs::read_to_string("/proc/self/status").map_err(StartError::Cpus)?;
    status
        .lines()
        .find_map(|line| parse_list(line.strip_prefix("Cpus_allowed_list:")?))
        .ok_or_else(|| {
            StartError::Cpus(io::Error::new(
                io::ErrorKind::InvalidData,
                "no readable Cpus_allowed_list",
            ))
        })
}

/// Reads a list such as `0-3,8` (man 7 cpuset, "List format"). `None` if it is none, or empty.
fn parse_list(list: &str) -> Option<Vec<usize>> {
    let mut cpus = Vec::new();
    for part in list.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        cpus.extend(first.parse::<usize>().ok()?..=last.parse().ok()?);
    }
    (!cpus.is_empty()).then_some(cpus)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_lists_of_cpus() {
        assert_eq!(parse_list("\t0-3,8,10-11"), Some(vec![0, 1, 2, 3, 8, 10, 11]));
        assert_eq!(parse_list("5\n"), Some(vec![5]));
        assert_eq!(parse_list(""), None);
        assert_eq!(parse_list("3-1"), None);
        assert_eq!(parse_list("a-b"), None);
    }

    #[test]
    fn this_process_may_run_somewhere() {
        assert!(allowed_cpus().is_ok_and(|cpus| !cpus.is_empty()));
    }
}
