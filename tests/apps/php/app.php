<?php
// The sample behind FastCGI: what it does is in its path info or query.
switch ($_SERVER['PATH_INFO'] ?? '') {
    case '/server':
        header('Content-Type: application/json');
        ksort($_SERVER);
        echo json_encode(array_intersect_key($_SERVER, array_flip(explode(',', $_GET['names']))));
        break;
    case '/upload':
        move_uploaded_file($_FILES['file']['tmp_name'], $to = tempnam(sys_get_temp_dir(), 'up'));
        echo $_POST['name'], ' ', $_FILES['file']['name'], ' ', filesize($to), ' ', md5_file($to);
        unlink($to);
        break;
    case '/body':
        echo strlen($body = file_get_contents('php://input')), ' ', md5($body), ' ', $_SERVER['CONTENT_LENGTH'];
        break;
    case '/redirect':
        header('Location: /elsewhere?a=b');
        break;
    case '/status':
        http_response_code((int) $_GET['code']);
        echo 'with a body';
        break;
    case '/stderr':
        error_log('something is wrong');
        echo 'done';
        break;
    case '/fatal':
        no_such_function();
        break;
    case '/cookies':
        setcookie('a', '1');
        setcookie('b', '2');
        echo $_COOKIE['c'] ?? 'none', $_COOKIE['d'] ?? 'none';
        break;
    case '/much':
        for ($i = 0; $i < 3000; $i++) {
            echo str_repeat(chr(65 + $i % 26), 1024);
        }
        break;
    default:
        echo 'hello from ', $_SERVER['SCRIPT_NAME'], ' ', $_SERVER['REQUEST_METHOD'], ' ', $_SERVER['QUERY_STRING'];
}
