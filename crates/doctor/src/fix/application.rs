//! What the findings change in applications, as their own files have it.

use capacity::{Change, Finding};

use super::largest;

/// How a file is made of settings.
#[derive(Clone, Copy)]
enum Form {
    /// `name = number`; `gunicorn --backlog 1024` is `backlog = 1024`.
    Numbers,
    /// As the settings stand.
    AsTheyStand,
    /// A program of Node that begins itself once more for each processor.
    Node,
}

/// Files of applications: where the changes are for, the file's name, how it begins, and how it goes on.
const APPLICATIONS: [(&str, &str, &str, Form); 5] = [
    (
        "gunicorn",
        "gunicorn.conf.py",
        "# gunicorn --config gunicorn.conf.py, or into the one there is; then restart it\n",
        Form::Numbers,
    ),
    (
        "the php-fpm pool",
        "php-fpm.pool.conf",
        "; into the pool's section; then restart php-fpm\n",
        Form::Numbers,
    ),
    ("uwsgi", "uwsgi.ini", "; into the section [uwsgi]; then restart it\n", Form::Numbers),
    (
        "config/puma.rb",
        "puma.rb",
        "# into config/puma.rb, in place of the `workers` and `bind` there; then restart it\n",
        Form::AsTheyStand,
    ),
    (
        "the Node application",
        "node.js",
        "// in place of the application's server.listen(..); then restart it\n",
        Form::Node,
    ),
];

/// Names and contents.
pub(super) fn files(changes: &[(&Finding, &Change)]) -> Vec<(String, String)> {
    let file = |(place, name, head, form): (&str, &str, &str, Form)| {
        let own = changes.iter().map(|(_, change)| *change).filter(|change| change.place == place);
        let text = text(form, &own.map(|change| change.setting.as_str()).collect::<Vec<_>>());
        (!text.is_empty()).then(|| (name.to_owned(), format!("{head}{text}")))
    };
    APPLICATIONS.into_iter().filter_map(file).collect()
}

fn text(form: Form, settings: &[&str]) -> String {
    let mut whole: Vec<&str> = settings.iter().copied().filter(|setting| !setting.contains("..")).collect();
    whole.dedup();
    match form {
        Form::Numbers => {
            let numbers = settings.iter().filter_map(|setting| number(setting));
            largest(numbers).iter().map(|(name, value)| format!("{name} = {value}\n")).collect()
        }
        Form::AsTheyStand => whole.iter().map(|setting| format!("{setting}\n")).collect(),
        Form::Node => {
            let listens = whole.iter().filter(|setting| setting.starts_with("server.listen("));
            let listens: String = listens.map(|listen| format!("  {listen};\n")).collect();
            if listens.is_empty() { listens } else { format!("{CLUSTER}{listens}}}\n") }
        }
    }
}

/// `name = 7`, `gunicorn --name 7`
fn number(setting: &str) -> Option<(&str, &str)> {
    let flag = setting.strip_prefix("gunicorn --").and_then(|flag| flag.split_once(' '));
    let (name, value) = flag.or_else(|| setting.split_once(" = "))?;
    value.parse::<u64>().is_ok().then_some((name, value))
}

const CLUSTER: &str = "\
const cluster = require('node:cluster');
if (cluster.isPrimary) {
  require('node:os').cpus().forEach(() => cluster.fork());
} else {
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_each_file() {
        assert_eq!(
            text(Form::Numbers, &["gunicorn --backlog 9", "gunicorn --backlog 1024", "more workers"]),
            "backlog = 1024\n"
        );
        let puma = ["workers 5", "bind 'unix:///run/app.sock?backlog=1024'", "bind '..?backlog=1'"];
        assert_eq!(text(Form::AsTheyStand, &puma), "workers 5\nbind 'unix:///run/app.sock?backlog=1024'\n");
        assert_eq!(text(Form::Node, &["pm2 start app.js -i max"]), "");
    }
}
