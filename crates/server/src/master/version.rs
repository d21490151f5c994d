//! What `-v`, `-V` and `-h` print.

use crate::modules::core::variables::NGINX_VERSION;

/// What is built in, in nginx's notation: what tools look for in `nginx -V`.
const CONFIGURE: &[&str] = &["--with-threads"];

/// `-v`: two lines, ours and the one that tools look for.
pub fn version() -> String {
    format!(
        "plimsoll version: plimsoll/{}\nnginx version: nginx/{NGINX_VERSION}\n",
        env!("CARGO_PKG_VERSION")
    )
}

/// `-V`: how it was built.
pub fn configure() -> String {
    format!("configure arguments: --prefix={} {}\n", super::flags::PREFIX, CONFIGURE.join(" "))
}

/// `-h`
pub fn usage() -> String {
    format!(
        "\
Usage: plimsoll [-?hvVtTq] [-s signal] [-p prefix]
                [-e filename] [-c filename] [-g directives]

Options:
  -?,-h         : this help
  -v            : show version and exit
  -V            : show version and configure options then exit
  -t            : test configuration and exit
  -T            : test configuration, dump it and exit
  -q            : suppress non-error messages during configuration testing
  -s signal     : send signal to a master process: stop, quit, reopen, reload
  -p prefix     : set prefix path (default: {prefix})
  -e filename   : set error log file (default: {prefix}logs/error.log)
  -c filename   : set configuration file (default: {prefix}plimsoll.conf)
  -g directives : set global directives out of configuration file

",
        prefix = super::flags::PREFIX
    )
}
