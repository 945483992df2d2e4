//! The cases of packages whose programs and servers need no build of their own: scripts, and programs over generated files.

use super::{Damage, LIMIT, documents, files, folder, program, source, text};
use crate::process::run_ok;
use crate::sandbox::Case;
use crate::{Result, corpus, fail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A server that a script starts, uses, and ends. The first case is short.
pub(super) fn server(first: &[&str], session: &str) -> Vec<Case> {
    let mut case = Case::new(&["/bin/sh", "-c", session]).slow();
    case.script = true;
    vec![Case::new(first), case]
}

pub(super) fn nginx() -> Vec<Case> {
    server(&["bin/nginx", "-V"], include_str!("nginx.sh"))
}

pub(super) fn haproxy() -> Vec<Case> {
    server(&["bin/haproxy", "-v"], include_str!("haproxy.sh"))
}

pub(super) fn dnsmasq() -> Vec<Case> {
    server(&["bin/dnsmasq", "--version"], include_str!("dnsmasq.sh"))
}

/// Upstream's own stylesheets over their documents, as `xsltproc` runs them.
pub(super) fn libxslt() -> Result<Vec<Case>> {
    let tree = source("libxslt", true)?;
    let xsltproc = program("xsltproc")?;
    let mut cases = Vec::new();
    for part in ["general", "REC", "exslt", "namespaces", "keys"] {
        let place = tree.join("tests").join(part);
        for sheet in files(&[place], &["xsl"])? {
            let document = sheet.with_extension("xml");
            if document.exists() && fs::metadata(&document)?.len() < 100_000 {
                cases.push(Case::new(&[&xsltproc, "--nonet", &text(&sheet), &text(&document)]));
            }
        }
    }
    let sheet = folder()?.join("identity.xsl");
    fs::write(
        &sheet,
        "<xsl:stylesheet version='1.0' xmlns:xsl='http://www.w3.org/1999/XSL/Transform'><xsl:key name='k' match='*' use='name()'/>\
         <xsl:template match='@*|node()'><xsl:copy><xsl:apply-templates select='@*|node()'/></xsl:copy></xsl:template>\
         <xsl:template match='item'><xsl:value-of select='count(key(\"k\",\"item\"))'/><xsl:number level='any'/></xsl:template></xsl:stylesheet>",
    )?;
    for document in documents()? {
        cases.push(Case::new(&[&xsltproc, "--nonet", &text(&sheet), &text(&document)]));
    }
    Ok(cases)
}

/// A picture with some structure, as PNM.
fn picture(name: &str, width: usize, height: usize, grey: bool) -> Result<PathBuf> {
    let path = folder()?.join(name);
    let mut content = format!("P{}\n{width} {height}\n255\n", if grey { 5 } else { 6 }).into_bytes();
    for y in 0..height {
        for x in 0..width {
            let planes = if grey { 1 } else { 3 };
            content.extend((0..planes).map(|p| ((x * (p + 3) + y * y / (p + 1)) % 256) as u8));
        }
    }
    fs::write(&path, content)?;
    Ok(path)
}

/// Compresses pictures, and decompresses them and damaged copies. `tool`: the artifact, when it is one of the programs.
pub(super) fn openjpeg(tool: Option<&str>) -> Result<Vec<Case>> {
    let path = |name: &str| {
        if tool == Some(name) { Ok(format!("bin/{name}")) } else { program(name) }
    };
    let [compress, decompress, dump] = ["opj_compress", "opj_decompress", "opj_dump"];
    let pictures = [picture("colour.ppm", 60, 45, false)?, picture("grey.pgm", 33, 70, true)?];
    let modes: [&[&str]; 6] = [
        &[],
        &["-r", "20,5"],
        &["-I", "-n", "3"],
        &["-t", "16,16", "-p", "RPCL", "-n", "3"],
        &["-b", "16,16", "-M", "63"],
        &["-c", "[64,64]", "-SOP", "-EPH"],
    ];
    let (mut cases, mut streams) = (Vec::new(), Vec::new());
    for (at, picture) in pictures.iter().enumerate() {
        for (number, mode) in modes.iter().enumerate() {
            for ending in ["j2k", "jp2"] {
                let stream = folder()?.join(format!("picture-{at}-{number}.{ending}"));
                let mut command = Command::new(program(compress)?);
                command.arg("-i").arg(picture).arg("-o").arg(&stream).args(*mode);
                run_ok(&mut command, LIMIT)?;
                streams.push(stream);
                if tool.is_none_or(|tool| tool == compress) {
                    let (tool, target) = (path(compress)?, format!("work/out.{ending}"));
                    let input = text(picture);
                    let mut case = Case::new(&[&[tool.as_str(), "-i", &input, "-o", &target], *mode].concat());
                    case.timing = "code time";
                    cases.push(case);
                }
            }
        }
    }
    let damaged = Damage(6).copies("openjpeg", &streams, 3, 600)?;
    for stream in streams.iter().chain(&damaged) {
        if tool.is_none_or(|tool| tool == decompress) {
            let mut case = Case::new(&[&path(decompress)?, "-i", &text(stream), "-o", "work/out.ppm"]);
            case.timing = "code time";
            cases.push(case);
        }
        if tool.is_none_or(|tool| tool == dump) {
            cases.push(Case::new(&[&path(dump)?, "-i", &text(stream)]));
        }
    }
    Ok(cases)
}

/// Archives of every kind that `bsdtar` writes, listed and unpacked, and damaged copies.
pub(super) fn libarchive(tool: bool) -> Result<Vec<Case>> {
    let bsdtar = if tool { "bin/bsdtar".to_owned() } else { program("bsdtar")? };
    let place = folder()?.join("archives");
    let content = place.join("content");
    fs::create_dir_all(content.join("sub"))?;
    for (name, size) in
        [("a.txt", 10usize), ("b.bin", 70_000), ("sub/a rather long name that does not fit into old headers", 500)]
    {
        fs::write(content.join(name), (0..size).map(|i| (i * i % 251) as u8).collect::<Vec<_>>())?;
    }
    let mut archives = Vec::new();
    for (format, more) in [
        ("ustar", ""),
        ("pax", "--gzip"),
        ("gnutar", "--bzip2"),
        ("cpio", ""),
        ("newc", "--xz"),
        ("zip", ""),
        ("7zip", ""),
        ("iso9660", ""),
        ("xar", ""),
        ("mtree", ""),
        ("ar", ""),
        ("shar", ""),
        ("warc", "--zstd"),
        ("v7tar", "--lz4"),
    ] {
        let archive = place.join(format!("x.{format}"));
        let mut command = Command::new(program("bsdtar")?);
        command.args(["--format", format, "-c", "-f"]).arg(&archive).arg("-C").arg(&content);
        if !more.is_empty() {
            command.arg(more);
        }
        let members: &[&str] = if format == "ar" { &["a.txt", "b.bin"] } else { &["a.txt", "b.bin", "sub"] };
        run_ok(command.args(members), LIMIT)?;
        archives.push(archive);
    }
    let samples = files(&[source("libarchive", true)?.join("libarchive/test")], &["uu"])?;
    let mut encoded = Vec::new();
    // Two that keep `bsdtar` busy without end, whatever the build, are left out.
    let wanted = |s: &str| ["rar", "7zip", "warc"].iter().any(|kind| s.contains(kind));
    let endless = |s: &str| s.contains("rar5_loop_bug") || s.contains("rar5_bad_window");
    for sample in samples.iter().filter(|s| wanted(&text(s)) && !endless(&text(s))) {
        let out = place.join(sample.file_stem().unwrap_or_default());
        let script = "import sys, binascii\nd=b''\nfor l in open(sys.argv[1],'rb'):\n\
                      \x20 if l[:6]==b'begin ' or l[:3]==b'end' or not l.strip(): continue\n\
                      \x20 try: d+=binascii.a2b_uu(l)\n  except binascii.Error: d+=binascii.a2b_uu(l[:(((l[0]-32)&63)*4+5)//3])\nopen(sys.argv[2],'wb').write(d)\n";
        run_ok(Command::new("/usr/bin/python3").args(["-c", script]).arg(sample).arg(&out), LIMIT)?;
        if fs::metadata(&out)?.len() < 300_000 {
            encoded.push(out);
        }
    }
    let damaged = Damage(7).copies("libarchive", &archives, 4, 700)?;
    let mut cases = vec![Case::new(&[&bsdtar, "-tvf", &text(&archives[0])])];
    for archive in archives.iter().chain(&encoded).chain(&damaged) {
        cases.push(Case::new(&[&bsdtar, "-tvf", &text(archive)]));
        cases.push(Case::new(&[&bsdtar, "-xOf", &text(archive)]));
    }
    for format in ["ustar", "pax", "cpio", "zip", "7zip", "iso9660"] {
        cases.push(Case::new(&[
            &bsdtar,
            "--format",
            format,
            "--uid",
            "0",
            "-cf",
            "work/out",
            "-C",
            &text(&content),
            "b.bin",
        ]));
    }
    Ok(cases)
}

/// Films made by `x265`, decoded, and damaged copies.
pub(super) fn libde265() -> Result<Vec<Case>> {
    let decoder = program("libde265-dec265")?;
    let place = folder()?.join("films");
    fs::create_dir_all(&place)?;
    let raw = place.join("film.yuv");
    let frames: Vec<u8> =
        (0..8usize).flat_map(|f| (0..64 * 64 * 3 / 2).map(move |i| ((i * (f + 1) / 7 + i / 64) % 256) as u8)).collect();
    fs::write(&raw, frames)?;
    let mut films = Vec::new();
    for (number, more) in [
        &["--qp", "20"][..],
        &["--bframes", "3", "--weightb"],
        &["--constrained-intra", "--cu-lossless"],
        &["--lossless"],
        &["--tskip", "--ctu", "16"],
    ]
    .iter()
    .enumerate()
    {
        let film = place.join(format!("film-{number}.265"));
        let mut command = Command::new(program("x265")?);
        command
            .args([
                "--input-res",
                "64x64",
                "--fps",
                "25",
                "--no-info",
                "--pools",
                "1",
                "--frame-threads",
                "1",
                "--input",
            ])
            .arg(&raw)
            .args(*more);
        run_ok(command.arg("-o").arg(&film), LIMIT)?;
        films.push(film);
    }
    let damaged = Damage(8).copies("libde265", &films, 24, 2000)?;
    Ok(films
        .iter()
        .chain(&damaged)
        .map(|film| {
            let mut case = Case::new(&[&decoder, "-q", "-t", "0", "-o", "work/out", &text(film)]);
            case.timing = " fps)";
            case
        })
        .collect())
}

/// A program of ours, linked with the package's library.
fn linked(package: &str, code: &str, soname: &str) -> Result<String> {
    let place = folder()?.join("programs");
    fs::create_dir_all(&place)?;
    let (from, to) = (place.join(format!("{package}.c")), place.join(package));
    fs::write(&from, code)?;
    let Some(pair) = corpus::pairs(package)?.into_iter().next() else { fail!("no {package} in the corpus") };
    let library = place.join(soname);
    fs::copy(&pair.old, &library)?;
    run_ok(Command::new("cc").args(["-w", "-O1", "-o"]).arg(&to).arg(&from).arg(&library).arg("-pthread"), LIMIT)?;
    Ok(text(&to))
}

/// Answers, addresses and options, good and bad ones, through the library's interface.
pub(super) fn cares() -> Result<Vec<Case>> {
    let program = linked("c-ares", include_str!("cares.c"), "libcares.so.2")?;
    Ok(["addresses", "options", "names", "replies", "server"].iter().map(|part| Case::new(&[&program, part])).collect())
}

/// Lists of known hosts; and, where an `sshd` is installed, a session with one that serves a socket pair: keys, commands, files.
pub(super) fn libssh2() -> Result<Vec<Case>> {
    const SSHD: &str = "/usr/sbin/sshd";
    let program = linked("libssh2", include_str!("ssh2.c"), "libssh2.so.1")?;
    let mut cases = vec![Case::new(&[&program])];
    if !Path::new(SSHD).exists() {
        return Ok(cases);
    }
    let place = folder()?.join("ssh");
    fs::create_dir_all(&place)?;
    for name in ["host", "user"] {
        let key = place.join(name);
        if !key.exists() {
            run_ok(Command::new("ssh-keygen").args(["-q", "-t", "rsa", "-m", "PEM", "-N", "", "-f"]).arg(&key), LIMIT)?;
        }
    }
    // The library is older than the algorithms that sshd prefers.
    let config = format!(
        "AuthorizedKeysFile {}\nStrictModes no\nPermitRootLogin prohibit-password\nPubkeyAcceptedAlgorithms +ssh-rsa\n\
         HostKeyAlgorithms +ssh-rsa\nUsePAM no\nSubsystem sftp internal-sftp\nAcceptEnv LC_*\nPidFile none\n",
        text(&place.join("user.pub"))
    );
    fs::write(place.join("sshd_config"), config)?;
    if !Path::new("/run/sshd").exists() {
        fs::create_dir_all("/run/sshd")?;
    }
    let user = run_ok(Command::new("id").arg("-un"), LIMIT)?.stdout;
    cases.push(Case::new(&[&program, &text(&place), "work", user.trim()]).slow());
    Ok(cases)
}

/// `curl` against servers on a socket.
pub(super) fn curl() -> Result<Vec<Case>> {
    let curl = program("curl")?;
    let mut cases = vec![Case::new(&[&curl, "--version"])];
    for words in [
        &["file:///etc/hostname"][..],
        &["-s", "file:///none"],
        &["-r", "1-2", "file:///etc/hostname"],
        &["-s", "http://[::1"],
        &["-sv", "http://a b/"],
        &["gopher://127.0.0.1:1/"],
        &["-s", "-x", "socks5h://127.0.0.1:1", "http://x/"],
    ] {
        cases.push(Case::new(&[&[curl.as_str()], words].concat()));
    }
    cases.push(Case::new(&["/usr/bin/python3", "-c", include_str!("curl.py"), &curl]).slow());
    Ok(cases)
}
