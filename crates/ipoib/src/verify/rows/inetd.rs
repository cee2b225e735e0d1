//! T10: servers that inetd starts: telnet, and FTP once more.

use std::{fs, os::unix::fs::PermissionsExt};

use anyhow::{Context, Result, bail};
use rustix::process::geteuid;

use super::super::{bench::Bench, programs, row::LeftOut};

/// Whoever calls gets this instead of a login: accounts are the machine's.
const SESSION: &str = r#"#!/bin/sh
echo "this is $(hostname)"
while printf 'sum> ' && read -r line; do
    case $line in quit*) exit 0 ;; esac
    echo "sum-$(($(printf %s "$line" | tr -cd '0-9+')))"
done
"#;

/// Calls, asks for a sum, and takes leave.
const CALLER: &str = r#"set timeout [lindex $argv 1]
spawn telnet [lindex $argv 0]
expect "sum> " {} timeout {exit 2} eof {exit 3}
send "40+2\r"
expect "sum-42" {} timeout {exit 4} eof {exit 5}
send "quit\r"
expect eof
"#;

/// T10: telnet and FTP by inetd.
pub(in super::super) fn servers(bench: &mut Bench<'_>) -> Result<String> {
    if !geteuid().is_root() {
        return Err(LeftOut("inetd changes users: run it as root".into()).into());
    }
    let (client, server) = (bench.client()?, bench.server()?);
    let found = |name: &str| programs::find(name).with_context(|| format!("{name} is missing"));
    let (vsftpd, telnetd) = (found("vsftpd")?, found("telnetd")?);
    let session = bench.write("session", SESSION)?;
    fs::set_permissions(&session, fs::Permissions::from_mode(0o755))?;
    let ftp = bench.write("vsftpd.conf", super::ftp::config(bench, false)?)?;
    let lines = format!(
        "21 stream tcp4 nowait root {vsftpd} vsftpd {ftp}\n23 stream tcp4 nowait root {telnetd} telnetd -h -E {session}\n"
    );
    let config = bench.write("inetd.conf", lines)?;
    bench.random("ftp/file", 4 << 20)?;
    let caller = bench.write("caller", CALLER)?;

    let _inetd = bench.serve(server, ("tcp", 23), &["inetd", "-i", &config])?;
    let patience = bench.limit(std::time::Duration::from_secs(20)).as_secs().to_string();
    let said = bench.ok(client, &["expect", &caller, &server.v4, &patience], 30)?;
    if !said.contains(&format!("this is {}", server.name)) {
        bail!("telnet did not lead to {}: {}", server.name, said.trim());
    }
    let url = format!("ftp://{}/file", server.v4);
    bench.ok(client, &["wget", "-q", "-T", "5", "-t", "1", "-O", &bench.file("got"), &url], 30)?;
    bench.same("got", "ftp/file")?;
    Ok("telnet: 40+2 is 42; ftp: 4 MiB the same".into())
}
