<?php
// The back rooms: a form that takes anything, a large page, a script that warns, and one that dies.
switch ($_GET['do'] ?? '') {
    case 'echo':
        header('Content-Type: application/octet-stream');
        header('X-Length: ' . ($_SERVER['CONTENT_LENGTH'] ?? 'none'));
        echo $_SERVER['REQUEST_METHOD'], ' ', file_get_contents('php://input');
        break;
    case 'large':
        header('Content-Type: text/plain');
        for ($i = 0; $i < 30000; $i++) {
            echo "line $i\n";
        }
        break;
    case 'warn':
        error_log('something is odd');
        echo 'warned';
        break;
    case 'die':
        http_response_code(500);
        break;
    default:
        header('Location: /admin/?do=echo');
        http_response_code(303);
}
