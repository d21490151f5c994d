<?php
// A small site behind a front controller: notes with readable addresses, visitors with sessions, files that come and go.
$data = $_SERVER['SITE_DATA'];
$path = rawurldecode(explode('?', $_SERVER['REQUEST_URI'])[0]);
$method = $_SERVER['REQUEST_METHOD'];

function page(string $title, string $text): void
{
    header('Content-Type: text/html; charset=utf-8');
    echo "<!doctype html><title>$title</title><h1>$title</h1>$text\n";
}

function missing(): void
{
    header($_SERVER['SERVER_PROTOCOL'] . ' 404 No Such Note');
    page('Nothing here', '<a href="/">Home</a>');
}

if ($path === '/' && $method === 'GET') {
    session_start();
    $_SESSION['visits'] = ($_SESSION['visits'] ?? 0) + 1;
    $who = htmlspecialchars($_SESSION['user'] ?? 'nobody');
    page('Notes', "<p>$who, visit {$_SESSION['visits']}</p>");
} elseif ($path === '/login' && $method === 'POST') {
    session_start();
    $_SESSION['user'] = $_POST['user'];
    setcookie('theme', 'dark blue', ['path' => '/', 'httponly' => true, 'samesite' => 'Lax']);
    header('Location: /', true, 303);
} elseif ($path === '/logout') {
    session_start();
    session_destroy();
    setcookie('theme', '');
    header('Location: http://' . $_SERVER['HTTP_HOST'] . '/');
} elseif (preg_match('~^/notes/(\d+)-([\w-]+)$~u', $path, $m)) {
    if ((int) $m[1] > 2) {
        missing();
    } else {
        header('Cache-Control: max-age=60');
        header('Link: </style.css>; rel=preload', false);
        header('Link: </app.js>; rel=preload', false);
        page("Note $m[1]", "<p>$m[2] " . htmlspecialchars($_GET['q'] ?? '') . '</p>');
    }
} elseif ($path === '/files' && $method === 'POST') {
    $file = $_FILES['file'];
    if ($file['error'] !== UPLOAD_ERR_OK) {
        http_response_code(422);
        exit("error {$file['error']}\n");
    }
    $name = basename($file['name']);
    move_uploaded_file($file['tmp_name'], "$data/$name");
    header("Location: /files/$name", true, 201);
    echo $_POST['note'], ' ', $file['type'], ' ', $file['size'], ' ', md5_file("$data/$name"), "\n";
} elseif (preg_match('~^/files/([\w.-]+)$~', $path, $m) && is_file("$data/$m[1]")) {
    header('Content-Type: application/octet-stream');
    header("Content-Disposition: attachment; filename=\"$m[1]\"");
    if (isset($_GET['sent'])) {
        header("X-Accel-Redirect: /protected/$m[1]");
    } else {
        header('Content-Length: ' . filesize("$data/$m[1]"));
        readfile("$data/$m[1]");
    }
} elseif ($path === '/stream') {
    header('X-Accel-Buffering: no');
    foreach (['one', 'two', 'three'] as $word) {
        echo "$word\n";
        flush();
    }
} elseif ($path === '/gone') {
    http_response_code(410);
    echo 'gone';
} elseif ($path === '/empty') {
    http_response_code(204);
} elseif ($path === '/raw') {
    echo $method, ' ', strlen($body = file_get_contents('php://input')), ' ', md5($body), "\n";
} elseif (str_starts_with($path, '/index.php')) {
    foreach (['SCRIPT_NAME', 'PATH_INFO', 'QUERY_STRING', 'REQUEST_METHOD', 'DOCUMENT_URI'] as $name) {
        echo $name, '=', $_SERVER[$name] ?? '-', "\n";
    }
} else {
    missing();
}
