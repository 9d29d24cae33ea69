//! The file that names all processes: a line `host:port` each, that of process 0 first.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

/// The addresses of so many processes, in their order. Empty lines and what follows a `#` do not count; lines beyond are not used.
pub fn hosts(path: &Path, processes: usize) -> Result<Vec<String>> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read the hostfile {}", path.display()))?;
    let mut hosts: Vec<String> = Vec::new();
    for (at, line) in (1..).zip(text.lines()) {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        let port = line.rsplit_once(':').filter(|(host, _)| !host.is_empty()).and_then(|(_, port)| port.parse::<u16>().ok());
        if port.is_none_or(|port| port == 0) {
            bail!("{}, line {at}: {line:?} is no address such as worker-0:2101", path.display());
        }
        if let Some(before) = hosts.iter().position(|host| host == line) {
            bail!("{}, line {at}: {line} is the address of process {before} already", path.display());
        }
        hosts.push(line.to_owned());
    }
    if hosts.len() < processes {
        bail!("{} names {} processes, and --processes says {processes}", path.display(), hosts.len());
    }
    hosts.truncate(processes);
    Ok(hosts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, processes: usize) -> Result<Vec<String>, String> {
        let file = tempfile::NamedTempFile::new().map_err(|error| error.to_string())?;
        fs::write(file.path(), text).map_err(|error| error.to_string())?;
        hosts(file.path(), processes).map_err(|error| format!("{error:#}").replace(&file.path().display().to_string(), "hosts"))
    }

    #[test]
    fn a_line_is_an_address_and_what_is_wrong_with_it_is_told_by_number() {
        assert_eq!(read("a:1 # first\n\n[::1]:2\nc:3\n", 2), Ok(vec!["a:1".to_owned(), "[::1]:2".to_owned()]));
        assert_eq!(read("a:1\nb\n", 2), Err("hosts, line 2: \"b\" is no address such as worker-0:2101".to_owned()));
        assert_eq!(read("a:1\na:1\n", 2), Err("hosts, line 2: a:1 is the address of process 0 already".to_owned()));
        assert_eq!(read("a:1\n", 2), Err("hosts names 1 processes, and --processes says 2".to_owned()));
    }
}
