//! T5 to T8: Apache, lftp, wget, Apache's benchmark.

use std::fs;

use anyhow::{Context, Result, bail};
use rustix::process::geteuid;

use super::{
    super::{
        bench::Bench,
        lab::Host,
        process::{Process, seconds},
        programs,
    },
    number_after,
};

/// What it serves: names and octets.
const FILES: [(&str, usize); 3] = [("1k", 1 << 10), ("1m", 1 << 20), ("64m", 64 << 20)];

/// Apache in the server, with a directory of files that neither repeat nor compress.
fn apache(bench: &Bench<'_>) -> Result<Process> {
    for (name, len) in FILES {
        // The short form's large file is a quarter as large.
        let len = if len > 1 << 20 { bench.choose(len / 4, len) } else { len };
        bench.random(&format!("www/{name}"), len)?;
    }
    let modules = modules()?;
    let dir = bench.file("");
    let dir = dir.trim_end_matches('/');
    let load = ["mpm_event", "authz_core", "autoindex", "dir"]
        .map(|module| format!("LoadModule {module}_module {modules}/mod_{module}.so\n"))
        .concat();
    // As root it may not serve as root; in a user namespace there is nobody else.
    let user = if geteuid().is_root() { "User nobody\nGroup nogroup\n" } else { "" };
    let config = format!(
        "{load}{user}ServerRoot {dir}\nServerName verify\nListen 80\nPidFile {dir}/apache.pid\n\
         DefaultRuntimeDir {dir}\nMutex file:{dir} default\nErrorLog {dir}/error.log\nLogLevel warn\n\
         ThreadsPerChild 64\nMaxKeepAliveRequests 0\n\
         DocumentRoot {dir}/www\n<Directory {dir}/www>\nOptions Indexes\nRequire all granted\n</Directory>\n"
    );
    let file = bench.write("apache.conf", config)?;
    bench.serve(bench.server()?, ("tcp", 80), &["apache2", "-f", &file, "-DFOREGROUND"])
}

/// Where Apache's modules are.
fn modules() -> Result<String> {
    let places = ["/usr/lib/apache2/modules", "/usr/lib64/httpd/modules", "/usr/libexec/apache2"];
    let found = places.into_iter().find(|place| fs::exists(place).unwrap_or(false));
    let program = programs::find("apache2").unwrap_or_default();
    found
        .map(str::to_owned)
        .with_context(|| format!("{program}: its modules are not in {}", places.join(", ")))
}

/// What Apache holds to be wrong.
fn complaints(bench: &Bench<'_>) -> Result<Vec<String>> {
    let log = fs::read_to_string(bench.path("error.log")).context("Apache's log")?;
    let bad =
        |line: &&str| [":error]", ":alert]", ":crit]", ":emerg]"].iter().any(|level| line.contains(level));
    Ok(log.lines().filter(bad).map(str::to_owned).collect())
}

fn wget(bench: &Bench<'_>, client: &Host, url: &str, to: &str, more: &[&str]) -> Result<()> {
    let base = ["wget", "-q", "-T", "5", "-t", "2", "-O", to, url];
    bench.ok(client, &[&base, more].concat(), 60).map(drop)
}

/// T5: it serves, and has nothing to complain about.
pub(in super::super) fn serve(bench: &mut Bench<'_>) -> Result<String> {
    let (client, server) = (bench.client()?, bench.server()?);
    let apache = apache(bench)?;
    for (name, _) in FILES {
        wget(bench, client, &format!("http://{}/{name}", server.v4), &bench.file("got"), &[])?;
        bench.same("got", &format!("www/{name}"))?;
    }
    wget(bench, client, &format!("http://{}/", server.v4), &bench.file("index"), &[])?;
    let index = fs::read_to_string(bench.path("index"))?;
    if !FILES.iter().all(|(name, _)| index.contains(name)) {
        bail!("the index does not name all files: {index}");
    }
    let (bad, ended) = (complaints(bench)?, apache.has_ended());
    if !bad.is_empty() || ended {
        bail!("Apache complains: {}", bad.join(" | "));
    }
    Ok("3 files and the index, log clean".into())
}

/// T6: several parts of a file at once, and a whole directory.
pub(in super::super) fn lftp(bench: &mut Bench<'_>) -> Result<String> {
    let (client, server) = (bench.client()?, bench.server()?);
    let _apache = apache(bench)?;
    let script = format!(
        "set net:timeout 5; set net:max-retries 2; set cmd:fail-exit yes; open http://{}; pget -n 4 64m -o got64; \
         get 1m -o got1; mirror --parallel=4 / mirrored",
        server.v4
    );
    let begin = std::time::Instant::now();
    bench.ok(client, &["lftp", "--norc", "-c", &script], 60)?;
    let took = begin.elapsed();
    let mut octets = bench.same("got64", "www/64m")? + bench.same("got1", "www/1m")?;
    for (name, _) in FILES {
        octets += bench.same(&format!("mirrored/{name}"), &format!("www/{name}"))?;
    }
    Ok(format!("{} MiB the same in {}", octets >> 20, seconds(took)))
}

/// T7: both families, and a file that was half there.
pub(in super::super) fn fetch(bench: &mut Bench<'_>) -> Result<String> {
    let (client, server) = (bench.client()?, bench.server()?);
    let _apache = apache(bench)?;
    let mut octets = 0;
    for (family, address) in [("4", server.v4.clone()), ("6", format!("[{}]", server.v6))] {
        for (name, _) in FILES {
            let got = format!("got{family}-{name}");
            wget(bench, client, &format!("http://{address}/{name}"), &bench.file(&got), &[])?;
            octets += bench.same(&got, &format!("www/{name}"))?;
        }
    }
    let whole = fs::read(bench.path("www/64m"))?;
    bench.write("half", &whole[..whole.len() / 2])?;
    wget(bench, client, &format!("http://{}/64m", server.v4), &bench.file("half"), &["-c"])?;
    bench.same("half", "www/64m")?;
    Ok(format!("{} MiB the same by IPv4 and IPv6, resumed at half", octets >> 20))
}

/// T8: many requests, with connections kept and without.
pub(in super::super) fn benchmark(bench: &mut Bench<'_>) -> Result<String> {
    let (client, server) = (bench.client()?, bench.server()?);
    let _apache = apache(bench)?;
    let url = format!("http://{}/1k", server.v4);
    let run = |words: &[&str]| -> Result<f64> {
        let words = [&["ab", "-q", "-s", "5"], words, &[&url]].concat();
        let said = bench.ok(client, &words, 60)?;
        let failed = number_after(&said, "Failed requests:")?;
        if failed > 0.0 || said.contains("Non-2xx") {
            bail!("{failed} requests failed: {}", said.trim());
        }
        number_after(&said, "Requests per second:")
    };
    let kept = run(&["-k", "-c", "50", "-n", bench.choose("2000", "5000")])?;
    let anew = run(&["-c", "50", "-n", bench.choose("500", "2000")])?;
    Ok(format!("none failed; {kept:.0}/s kept, {anew:.0}/s anew"))
}
