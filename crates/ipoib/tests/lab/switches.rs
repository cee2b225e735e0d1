//! `ipoib exec` on switches, and what all commands of a lab find in their environment.

use std::{collections::BTreeMap, thread, time::Duration};

use crate::harness::{Lab, PATIENCE, TempDir, eventually, ipoib, new_name, require, run};

#[test]
fn a_switch_is_a_place_for_commands() {
    let lab = Lab::start(&["--topology", "line:2"]);
    assert_eq!(lab.sh("sw2", "hostname; cat /etc/hostname; echo $IPOIB_HOST"), "sw2\nsw2\nsw2\n");
    assert_eq!(lab.sh("sw2", "ls /sys/class/net"), "lo\n");
    assert_eq!(
        lab.sh("sw2", "cat /sys/class/net/lo/operstate; ip -br address show lo | wc -l"),
        "unknown\n1\n"
    );
    assert!(lab.sh("sw2", "getent hosts h1").contains("fd77::1"));
    let device = "/sys/class/infiniband/ipoib_0";
    assert_eq!(lab.sh("sw2", &format!("cat {device}/node_type; ls {device}/ports")), "2: switch\n0\n");
    assert_eq!(lab.sh("sw2", &format!("cat {device}/ports/0/state")), "4: ACTIVE\n");
    let lids = ["sw1", "sw2"].map(|switch| lab.sh(switch, &format!("cat {device}/ports/0/lid")));
    assert!(lids[0] != lids[1] && lids.iter().all(|lid| lid != "0x0\n"), "{lids:?}");
    lab.exec("sw1", &["sh", "-c", "exit 7"]).exits(7);
    // One and the same, whoever comes.
    let links =
        |switch: &str| lab.sh(switch, "readlink /proc/self/ns/net /proc/self/ns/mnt /proc/self/ns/uts");
    assert_eq!(links("sw1"), links("sw1"));
    assert_ne!(links("sw1"), links("sw2"));
    lab.exec("sw9", &["true"]).exits(2).says(&["no host or switch sw9", "h1, h2", "sw1, sw2"]);
    lab.exec("../sw1", &["true"]).exits(2).says(&["no host or switch"]);
}

#[test]
fn many_who_enter_a_switch_at_once_meet() {
    let lab = Lab::start(&["--topology", "star:2"]);
    let look = || lab.sh("sw1", "readlink /proc/self/ns/net; cat /sys/class/infiniband/ipoib_0/node_type");
    let seen: Vec<String> = thread::scope(|scope| {
        let all: Vec<_> = (0..6).map(|_| scope.spawn(look)).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert!(seen[0].ends_with("2: switch\n"), "{seen:?}");
    assert!(seen.iter().all(|one| *one == seen[0]), "{seen:?}");
}

/// The bit of a subnet manager comes and goes in the mask of its port.
#[test]
fn what_a_switch_sees_of_itself_is_live() {
    let lab = Lab::start(&["--topology", "star:2"]);
    let has_manager = || {
        let text = lab.sh("sw1", "cat /sys/class/infiniband/ipoib_0/ports/0/cap_mask");
        u32::from_str_radix(text.trim().trim_start_matches("0x"), 16).unwrap() & 2 != 0
    };
    assert!(has_manager());
    run(&mut ipoib(["sm", "kill", "--lab", lab.name()]), PATIENCE).ok();
    let within = Duration::from_secs(2);
    let ((), took) = eventually("the manager has gone", within, || (!has_manager()).then_some(()));
    println!("{took:?}");
}

fn environment(text: &str) -> BTreeMap<&str, &str> {
    text.lines().filter_map(|line| line.split_once('=')).collect()
}

#[test]
fn commands_find_the_way_to_their_port() {
    let dir = TempDir::new();
    // Any library will do to be loaded.
    let library = dir.file("libsome.so");
    let real = std::fs::read_dir("/lib/x86_64-linux-gnu").ok().and_then(|mut all| {
        all.find_map(|entry| Some(entry.ok()?.path()).filter(|path| path.ends_with("libm.so.6")))
    });
    std::fs::copy(real.expect("the C library's libm"), &library).unwrap();
    let name = new_name();
    let mut words = ipoib(["lab", "--name", &name, "--topology", "star:2"]);
    let mut lab = Lab::with(name, words.env("IPOIB_UMAD_LIBRARY", &library));
    lab.wait_until_up();
    let of_switch = run(lab.command("sw1", &["env"]).env_remove("LD_PRELOAD"), PATIENCE).ok();
    let found = environment(&of_switch);
    assert_eq!((found["IPOIB_UMAD_NODE"], found["LD_PRELOAD"]), ("sw1", library.as_str()), "{of_switch}");
    assert!(found["IPOIB_UMAD_SOCKET"].ends_with(&format!("{}/umad", lab.name())), "{of_switch}");
    assert_eq!(found["OSM_TMP_DIR"], found["OSM_CACHE_DIR"]);
    let script = "echo $OSM_TMP_DIR; echo x > $OSM_TMP_DIR/file; ls $OSM_TMP_DIR";
    let [one, other] = ["h1", "sw1"].map(|node| {
        let said = run(lab.command(node, &["sh", "-euc", script]).env_remove("OSM_TMP_DIR"), PATIENCE).ok();
        let (dir, files) = said.split_once('\n').unwrap();
        assert_eq!(files, "file\n");
        dir.to_owned()
    });
    assert_ne!(one, other);

    // What the user has stays: behind the library, or instead of the directory.
    let mut command = lab.command("h1", &["env"]);
    command.env("LD_PRELOAD", "libc.so.6").env("OSM_TMP_DIR", "/tmp").env_remove("OSM_CACHE_DIR");
    let said = run(&mut command, PATIENCE).ok();
    let found = environment(&said);
    assert_eq!(found["LD_PRELOAD"], format!("{library}:libc.so.6"));
    assert_eq!((found["OSM_TMP_DIR"], found["OSM_CACHE_DIR"]), ("/tmp", one.as_str()));
}

/// `ipoib lab -- COMMAND` prepares the same.
#[test]
fn the_command_of_a_lab_finds_it_too() {
    let name = new_name();
    let mut lab = ipoib(["lab", "--name", &name, "--topology", "star:2", "--", "env"]);
    let said = run(lab.env_remove("LD_PRELOAD"), PATIENCE).ok();
    let found = environment(&said);
    assert_eq!(found["IPOIB_UMAD_NODE"], "h1");
    assert!(found["IPOIB_UMAD_SOCKET"].ends_with(&format!("{name}/umad")), "{said}");
    assert!(found["OSM_CACHE_DIR"].ends_with(&format!("{name}/opensm/h1")), "{said}");
    // Cargo builds it beside the program.
    assert!(found["LD_PRELOAD"].ends_with("/libib_umad.so"), "{said}");
}

/// The library is nowhere: said once, with what to do, and all else works.
#[test]
fn a_lab_without_the_library_says_so_once() {
    let dir = TempDir::new();
    let program = dir.file("ipoib");
    std::fs::copy(env!("CARGO_BIN_EXE_ipoib"), &program).unwrap();
    let name = new_name();
    let mut command = std::process::Command::new(&program);
    command.args(["lab", "--name", &name, "--topology", "star:2"]).env_remove("IPOIB_UMAD_LIBRARY");
    let mut lab = Lab::with(name, command.env_remove("RUST_LOG").env_remove("IPOIB_LOG"));
    lab.wait_until_up();
    for node in ["h1", "h2", "sw1"] {
        let said = run(lab.command(node, &["env"]).env_remove("LD_PRELOAD"), PATIENCE).ok();
        let found = environment(&said);
        assert!(found["IPOIB_UMAD_NODE"] == node && !found.contains_key("LD_PRELOAD"), "{said}");
    }
    let said = lab.said();
    assert_eq!(said.matches("libib_umad.so").count(), 1, "{said}");
    assert!(said.contains("IPOIB_UMAD_LIBRARY") && said.contains("WARN"), "{said}");
}

#[test]
fn ibstatus_runs_on_a_switch() {
    require(&[("ibstatus", "infiniband-diags")]);
    let lab = Lab::start(&["--topology", "star:2"]);
    let done = lab.exec("sw1", &["ibstatus"]);
    done.exits(0).says(&["'ipoib_0' port 0 status:", "4: ACTIVE", "5: LinkUp"]);
}

/// A fabric alone has nodes without networks only.
#[test]
fn every_node_of_a_fabric_alone_is_a_place_for_commands() {
    require(&[("ibstatus", "infiniband-diags")]);
    let name = new_name();
    let mut lab = Lab::with(name.clone(), &mut ipoib(["fabric", "run", "--name", &name, "star:2"]));
    lab.wait_until_up();
    for (node, port) in [("h2", 1), ("sw1", 0)] {
        assert_eq!(lab.sh(node, "hostname; ls /sys/class/net"), format!("{node}\nlo\n"));
        let status = format!("'ipoib_0' port {port} status:");
        lab.exec(node, &["ibstatus"]).exits(0).says(&[&status, "4: ACTIVE"]);
    }
}
