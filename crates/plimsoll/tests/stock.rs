//! The files that nginx's packagers ship start unchanged, at the paths and ports they name.
//!
//! Each runs in network and mount namespaces of its own, so that port 80, /etc/nginx, /run and /var/log/nginx are
//! private to the test. That takes root and `unshare`; without them the tests are skipped, loudly.
#![forbid(unsafe_code)]

use std::process::{Command, Output};

use testkit::{Binary, each, peers};

/// What Debian's package installs, without its comments.
const DEBIAN: &str = "user www-data;
worker_processes auto;
pid /run/nginx.pid;
error_log /var/log/nginx/error.log;
include /etc/nginx/modules-enabled/*.conf;
events {
	worker_connections 768;
	# multi_accept on;
}
http {
	sendfile on;
	tcp_nopush on;
	types_hash_max_size 2048;
	include /etc/nginx/mime.types;
	default_type application/octet-stream;
	ssl_protocols TLSv1 TLSv1.1 TLSv1.2 TLSv1.3; # Dropping SSLv3, ref: POODLE
	ssl_prefer_server_ciphers on;
	access_log /var/log/nginx/access.log;
	gzip on;
	include /etc/nginx/conf.d/*.conf;
	include /etc/nginx/sites-enabled/*;
}
";
const DEBIAN_SITE: &str = "server {
	listen 80 default_server;
	listen [::]:80 default_server;
	root /var/www/html;
	index index.html index.htm index.nginx-debian.html;
	server_name _;
	location / {
		try_files $uri $uri/ =404;
	}
}
";
/// What a build from source installs.
const SOURCE: &str = "worker_processes  1;
events {
    worker_connections  1024;
}
http {
    include       mime.types;
    default_type  application/octet-stream;
    sendfile        on;
    keepalive_timeout  65;
    server {
        listen       80;
        server_name  localhost;
        location / {
            root   html;
            index  index.html index.htm;
        }
        error_page   500 502 503 504  /50x.html;
        location = /50x.html {
            root   html;
        }
    }
}
";
/// What the packages of nginx.org and the Docker image install.
const PACKAGE: &str = r#"user  nginx;
worker_processes  auto;
error_log  /var/log/nginx/error.log notice;
pid        /run/nginx.pid;
events {
    worker_connections  1024;
}
http {
    include       /etc/nginx/mime.types;
    default_type  application/octet-stream;
    log_format  main  '$remote_addr - $remote_user [$time_local] "$request" '
                      '$status $body_bytes_sent "$http_referer" '
                      '"$http_user_agent" "$http_x_forwarded_for"';
    access_log  /var/log/nginx/access.log  main;
    sendfile        on;
    #tcp_nopush     on;
    keepalive_timeout  65;
    #gzip  on;
    include /etc/nginx/conf.d/*.conf;
}
"#;
const PACKAGE_SITE: &str = "server {
    listen       80;
    server_name  localhost;
    #access_log  /var/log/nginx/host.access.log  main;
    location / {
        root   /usr/share/nginx/html;
        index  index.html index.htm;
    }
    #error_page  404              /404.html;
    error_page   500 502 503 504  /50x.html;
    location = /50x.html {
        root   /usr/share/nginx/html;
    }
}
";
/// The script of the Docker image makes this of the site's `listen`.
const DOCKER_LISTEN: &str = "listen       80;\n    listen  [::]:80;";
const TYPES: &str = "types {
    text/html                             html htm shtml;
    text/css                              css;
    application/javascript                js;
}
";

/// Private folders, a network with nothing but loopback, and a user `nginx`. `FLAGS` are those of every call.
const ROOM: &str = r#"set -e
ip link set lo up
mkdir -p /var/log/nginx /etc/nginx /usr/share/nginx /var/www
for folder in /run /var/log/nginx /usr/share/nginx /var/www $PRIVATE; do
    mount -t tmpfs none $folder
done
mkdir -p /usr/share/nginx/html /usr/share/nginx/logs /var/www/html /etc/nginx/conf.d /etc/nginx/sites-enabled
echo welcome > /usr/share/nginx/html/index.html
echo broken > /usr/share/nginx/html/50x.html
echo welcome > /var/www/html/index.nginx-debian.html
(cat /etc/passwd; echo nginx:x:64117:64117::/nonexistent:/bin/false) > /run/passwd
(cat /etc/group; echo nginx:x:64117:) > /run/group
mount --bind /run/passwd /etc/passwd
mount --bind /run/group /etc/group
FLAGS="-p /usr/share/nginx/ -c /etc/nginx/nginx.conf"
fetch() { curl -sS --retry 50 --retry-delay 1 --retry-connrefused "$@"; }
stop() {
    "$SERVER" $FLAGS -s quit
    for i in $(seq 300); do curl -s -o /dev/null http://127.0.0.1/ || return 0; sleep 0.05; done
    echo "still there" >&2
    exit 1
}
"#;
/// Checks the file, starts it as a daemon, fetches, stops it, and shows what the error log has to say.
const ROUND: &str = r#""$SERVER" $FLAGS -t
"$SERVER" $FLAGS
fetch http://127.0.0.1/ http://localhost/nothing -o /run/page -o /run/missing -w '%{http_code} %{content_type}\n'
cat /run/page
ps -o user= -p $(pgrep -P $(cat $(ls /run/nginx.pid /usr/share/nginx/logs/*.pid 2>/dev/null))) | sort -u
stop
cat /var/log/nginx/error.log /usr/share/nginx/logs/error.log 2>/dev/null >&2 || true
"#;

/// Runs a script in a room of its own; `None` where that cannot be had.
fn room(binary: Binary, private: &str, script: &str) -> Option<Output> {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: the stock files need root");
        return None;
    }
    for program in ["unshare", "ip", "curl"] {
        peers::require(program)?;
    }
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c"]);
    command.arg(format!("{ROOM}\n{script}")).env("SERVER", binary.path()).env("PRIVATE", private);
    Some(command.output().expect("unshare runs"))
}

/// What a round must print, and the warnings that only we have.
#[track_caller]
fn expect(output: Output, user: &str) {
    let out = String::from_utf8_lossy(&output.stdout);
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{out}{err}");
    assert_eq!(out, format!("200 text/html\n404 text/html\nwelcome\n{user}\n"), "{err}");
    assert!(err.contains("test is successful"), "{err}");
    // The page that is not there is in the error log, wherever that is.
    let unusual = err.lines().filter(|line| !line.contains("/html/nothing\" failed (2:"));
    let unusual =
        unusual.filter(|line| ["[error]", "[crit]", "[alert]"].iter().any(|level| line.contains(level)));
    assert_eq!(unusual.count(), 0, "{err}");
}

/// A shell command that writes a file.
fn write(path: &str, text: &str) -> String {
    format!("cat > {path} <<'END OF FILE'\n{text}END OF FILE\n")
}

#[test]
fn the_file_of_debian() {
    each(|binary| {
        let conf = write("/etc/nginx/nginx.conf", DEBIAN);
        let site = write("/etc/nginx/sites-enabled/default", DEBIAN_SITE);
        let types = write("/etc/nginx/mime.types", TYPES);
        let script = format!("{conf}{site}{types}{ROUND}");
        if let Some(output) = room(binary, "/etc/nginx", &script) {
            expect(output, "www-data");
        }
    });
}

#[test]
fn the_file_that_is_installed_here() {
    if !std::path::Path::new("/etc/nginx/sites-enabled/default").exists() {
        return eprintln!("SKIPPED: Debian's nginx is not installed");
    }
    each(|binary| {
        if let Some(output) = room(binary, "", ROUND) {
            expect(output, "www-data");
        }
    });
}

#[test]
fn the_file_of_a_build_from_source() {
    each(|binary| {
        let script = format!(
            "{}{}{ROUND}",
            write("/etc/nginx/nginx.conf", SOURCE),
            write("/etc/nginx/mime.types", TYPES)
        );
        if let Some(output) = room(binary, "/etc/nginx", &script) {
            expect(output, "nobody");
        }
    });
}

#[test]
fn the_files_of_the_packages_of_nginx_org() {
    each(|binary| {
        let conf = write("/etc/nginx/nginx.conf", PACKAGE);
        let site = write("/etc/nginx/conf.d/default.conf", PACKAGE_SITE);
        let types = write("/etc/nginx/mime.types", TYPES);
        if let Some(output) = room(binary, "/etc/nginx", &format!("{conf}{site}{types}{ROUND}")) {
            expect(output, "nginx");
        }
    });
}

/// In the image the server is the foreground process and its logs are links to the container's output.
#[test]
fn the_files_of_the_docker_image() {
    each(|binary| {
        let conf = write("/etc/nginx/nginx.conf", PACKAGE);
        let listen = PACKAGE_SITE.replace("listen       80;", DOCKER_LISTEN);
        let site = write("/etc/nginx/conf.d/default.conf", &listen);
        let types = write("/etc/nginx/mime.types", TYPES);
        let script = format!(
            r#"{conf}{site}{types}
ln -sf /dev/stdout /var/log/nginx/access.log
ln -sf /dev/stderr /var/log/nginx/error.log
"$SERVER" $FLAGS -g 'daemon off;' &
fetch http://127.0.0.1/ 'http://[::1]/' -A 'agent "one"' -H 'X-Forwarded-For: 10.0.0.1'
stop
wait $!
"#
        );
        let Some(output) = room(binary, "/etc/nginx", &script) else { return };
        let out = String::from_utf8_lossy(&output.stdout);
        let err = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{out}{err}");
        assert_eq!(out.matches("welcome\n").count(), 2, "{out}{err}");
        let line = r#"] "GET / HTTP/1.1" 200 8 "-" "agent \x22one\x22" "10.0.0.1""#;
        assert!(out.contains("127.0.0.1 - - [") && out.contains("::1 - - ["), "{out}{err}");
        assert_eq!(out.matches(line).count(), 2, "{out}{err}");
        assert!(err.contains("[notice]") && err.contains("start worker process"), "{out}{err}");
    });
}
