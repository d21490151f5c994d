<?php
// A small blog of the old kind: scripts are asked by their names, pages are cached for guests, members have a cookie.
$page = (int) ($_GET['p'] ?? 0);
header('Content-Type: text/html; charset=utf-8');
if ($page > 3) {
    http_response_code(404);
    exit('no such page');
}
if ($page === 3) {
    http_response_code(503);
    header('Retry-After: 5');
    exit('too busy');
}
if (isset($_COOKIE['member'])) {
    header('Cache-Control: private');
}
header('Link: </style.css>; rel=preload', false);
header('Link: </blog.js>; rel=preload', false);
echo "<h1>Page $page</h1>", isset($_COOKIE['member']) ? 'Hello, ' . htmlspecialchars($_COOKIE['member']) : 'Hello, guest';
echo ' ', $_SERVER['SCRIPT_NAME'], ' ', $_SERVER['HTTP_X_FORWARDED_PROTO'] ?? '-', "\n";
