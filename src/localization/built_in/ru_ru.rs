//! Russian (Russia).

use passage_proto::text::keys;

pub(super) const MESSAGES: super::Table = &[
    (
        keys::DISCONNECT_TIMEOUT,
        "Подключение заняло слишком много времени. Попробуйте ещё раз.",
    ),
    (
        keys::DISCONNECT_NO_ROUTE,
        "По этому адресу нет известного сервера. Проверьте, правильно ли он введён.",
    ),
    (
        keys::DISCONNECT_NO_TARGET,
        "Сейчас нет доступных серверов. Попробуйте позже.",
    ),
    (
        keys::DISCONNECT_TARGET_UNREACHABLE,
        "Сервер сейчас недоступен. Попробуйте позже.",
    ),
    (
        keys::DISCONNECT_VERSION,
        "Для этого сервера нужен Minecraft {version} или новее. Обновите игру.",
    ),
    (
        keys::DISCONNECT_NOT_AUTHENTICATED,
        "Не удалось подтвердить ваш вход. Перезапустите игру и лаунчер и попробуйте ещё раз.",
    ),
    (
        keys::DISCONNECT_INVALID_NAME,
        "Ваше имя не является допустимым именем игрока.",
    ),
    (
        keys::DISCONNECT_AUTHENTICATION_REFUSED,
        "Вам нельзя войти с этой учётной записью.",
    ),
    (
        keys::DISCONNECT_AUTHENTICATION_BUSY,
        "Сейчас входит слишком много игроков. Попробуйте ещё раз через минуту.",
    ),
    (
        keys::DISCONNECT_AUTHENTICATION_UNAVAILABLE,
        "Служба входа сейчас недоступна. Попробуйте позже.",
    ),
    (
        keys::DISCONNECT_AUTHENTICATION_TIMEOUT,
        "Служба входа не ответила вовремя. Попробуйте ещё раз.",
    ),
    (
        keys::DISCONNECT_ENCRYPTION,
        "Не удалось зашифровать соединение. Попробуйте ещё раз.",
    ),
    (
        keys::DISCONNECT_DISCOVERY_UNAVAILABLE,
        "Не удалось найти сервер. Попробуйте позже.",
    ),
    (keys::DISCONNECT_FILTERED, "Вам нельзя войти на этот сервер."),
    (
        keys::DISCONNECT_OVERLOADED,
        "Сейчас подключается слишком много игроков. Попробуйте ещё раз через мгновение.",
    ),
    (
        keys::DISCONNECT_FAULT,
        "Ваша игра отправила то, чего этот сервер не понимает.",
    ),
    (
        keys::DISCONNECT_INTERNAL,
        "На нашей стороне произошла ошибка. Попробуйте позже.",
    ),
    (
        keys::DISCONNECT_SHUTDOWN,
        "Сервер перезапускается. Зайдите снова через мгновение.",
    ),
];
