//! A faulty network between processes: what is slow costs time only, and what does not pass ends all in bounded time, with words.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::cluster::{BLOCKS, Together, refresh, report, spawn};
use super::generated::small;
use super::harness::{Database, Home, assert_same, fault};
use super::kafka::by_files;
use super::proxy::{Proxy, Side};

/// Two processes, of which the second reaches the first by way of a proxy.
fn with_a_proxy_between(home: &Home, line: &str, points: &str) -> (Together, Proxy) {
    let listeners = [0, 1].map(|_| TcpListener::bind("127.0.0.1:0").expect("a port"));
    let [first, second] = listeners.map(|listener| listener.local_addr().expect("an address"));
    let proxy = Proxy::before(&first.to_string());
    let start = |(process, first): (usize, SocketAddr)| {
        let name = format!("hosts-{process}");
        fs::write(home.path(&name), format!("{first}\n{second}\n")).expect("written");
        let mut command = home.command(&format!("{line} --processes 2 --process {process} --hostfile {name}"));
        spawn(command.env("FAILPOINTS", points))
    };
    (Together([(0, first), (1, proxy.address)].into_iter().map(start).collect()), proxy)
}

#[test]
fn a_slow_network_between_processes_costs_time_and_nothing_else() {
    let Some(database) = Database::new() else { return };
    let months = small().folders();
    let (files, reports) = by_files(&months[..1]);
    let home = Home::new();
    let line = refresh(&months[0], &format!("--postgres {}", database.url()));
    let (both, proxy) = with_a_proxy_between(&home, &line, BLOCKS);
    proxy.slow_down(4_000);
    assert_eq!(report(&both.ended(), 0)["kinds"], reports[0]["kinds"]);
    assert!(proxy.passed() > 10_000, "{} bytes went by way of it", proxy.passed());
    assert_same(&database.rows(), &files.sqlite("files.sqlite"), "the rows");
}

#[test]
fn processes_whose_connections_are_cut_stalled_or_forgotten_end_within_seconds_and_go_on_with_the_same_command() {
    let Some(database) = Database::new() else { return };
    let months = small().folders();
    let (files, _) = by_files(&months[..1]);
    let home = Home::new();
    let line = refresh(&months[0], &format!("--checkpoint-interval 0 --postgres {}", database.url()));
    let faults: [fn(&Proxy); 4] = [Proxy::cut, |proxy| proxy.stall(true), Proxy::forget, |proxy| proxy.half_close(Side::Server)];
    for fault in faults {
        let (mut both, proxy) = with_a_proxy_between(&home, &line, &format!("{BLOCKS};before-block=sleep(400)"));
        proxy.await_traffic(9_000, &mut both.0[0]);
        fault(&proxy);
        let begun = Instant::now();
        for (process, ran) in both.ended().into_iter().enumerate() {
            let other = format!("process {}", 1 - process);
            assert!(ran.status == Some(1) && ran.stderr.contains(&other), "{process}: {:?}: {}", ran.status, ran.stderr);
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    }
    let ran = Together::start(&home, (2, 1), &line, BLOCKS, |_| String::new()).ended();
    assert!(!report(&ran, 0)["resumed_from"].is_null());
    assert_same(&database.rows(), &files.sqlite("files.sqlite"), "the rows");
}

/// Two machines with a cable between them, as the kernel can make them; gone with this.
struct Machines([String; 2]);

impl Machines {
    const ADDRESSES: [&str; 2] = ["10.231.7.1", "10.231.7.2"];

    /// `None`, with a word, where that is not allowed.
    fn new() -> Option<Machines> {
        let [first, second] = ["a", "b"].map(|end| format!("discodiff-{}-{end}", std::process::id()));
        let machines = Machines([first.clone(), second.clone()]);
        let cable = ["-n", &first, "link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", &second];
        if !(ip(&["netns", "add", &first]) && ip(&["netns", "add", &second]) && ip(&cable)) {
            println!("skipped: this user may not make network namespaces (ip netns add)");
            return None;
        }
        for (name, address) in machines.0.iter().zip(Machines::ADDRESSES) {
            assert!(ip(&["-n", name, "addr", "add", &format!("{address}/24"), "dev", "cable"]));
            assert!(ip(&["-n", name, "link", "set", "lo", "up"]));
        }
        machines.cable("up");
        Some(machines)
    }

    fn cable(&self, state: &str) {
        assert!(self.0.iter().all(|name| ip(&["-n", name, "link", "set", "cable", state])));
    }

    /// A process on each.
    fn start(&self, home: &Home, line: &str, points: &str) -> Together {
        fs::write(home.path("hosts"), Machines::ADDRESSES.map(|address| format!("{address}:2101\n")).concat()).expect("written");
        let start = |(process, name): (usize, &String)| {
            let program = home.command(&format!("{line} --processes 2 --process {process} --hostfile hosts"));
            let mut command = Command::new("ip");
            command.args(["netns", "exec", name]).arg(program.get_program()).args(program.get_args());
            for (name, _) in program.get_envs().filter(|(_, value)| value.is_none()) {
                command.env_remove(name);
            }
            spawn(command.current_dir(home.path("")).env("FAILPOINTS", points))
        };
        Together(self.0.iter().enumerate().map(start).collect())
    }
}

impl Drop for Machines {
    fn drop(&mut self) {
        for name in &self.0 {
            let _ = ip(&["netns", "del", name]);
        }
    }
}

fn ip(arguments: &[&str]) -> bool {
    Command::new("ip").args(arguments).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

#[test]
fn processes_on_two_machines_come_to_what_one_comes_to_and_end_within_seconds_when_the_cable_is_pulled() {
    let Some(machines) = Machines::new() else { return };
    let months = small().folders();
    let (_, reports) = by_files(&months[..1]);
    let home = Home::new();
    let line = refresh(&months[0], "--null");
    let both = machines.start(&home, &line, &format!("{BLOCKS};before-block=sleep(1000)"));
    sleep(Duration::from_secs(4));
    machines.cable("down");
    fault("a cable pulled");
    let begun = Instant::now();
    for (process, ran) in both.ended().into_iter().enumerate() {
        let other = format!("process {}", 1 - process);
        assert!(ran.status == Some(1) && ran.stderr.contains(&other), "{process}: {:?}: {}", ran.status, ran.stderr);
    }
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    machines.cable("up");
    assert_eq!(report(&machines.start(&home, &line, BLOCKS).ended(), 0)["kinds"], reports[0]["kinds"]);
}
