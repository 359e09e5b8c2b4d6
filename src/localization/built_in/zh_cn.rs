//! Chinese (simplified).

use passage_proto::text::keys;

pub(super) const MESSAGES: super::Table = &[
    (keys::DISCONNECT_TIMEOUT, "连接超时，请重试。"),
    (
        keys::DISCONNECT_NO_ROUTE,
        "此地址没有对应的服务器，请检查输入是否正确。",
    ),
    (keys::DISCONNECT_NO_TARGET, "当前没有可用的服务器，请稍后再试。"),
    (
        keys::DISCONNECT_TARGET_UNREACHABLE,
        "目前无法连接到服务器，请稍后再试。",
    ),
    (
        keys::DISCONNECT_VERSION,
        "此服务器需要 Minecraft {version} 或更高版本，请更新游戏。",
    ),
    (
        keys::DISCONNECT_NOT_AUTHENTICATED,
        "无法验证你的登录，请重启游戏和启动器后重试。",
    ),
    (keys::DISCONNECT_INVALID_NAME, "你的名称不是有效的玩家名称。"),
    (keys::DISCONNECT_AUTHENTICATION_REFUSED, "你不能使用此账号加入。"),
    (
        keys::DISCONNECT_AUTHENTICATION_BUSY,
        "当前登录的玩家过多，请一分钟后再试。",
    ),
    (
        keys::DISCONNECT_AUTHENTICATION_UNAVAILABLE,
        "目前无法连接到登录服务，请稍后再试。",
    ),
    (
        keys::DISCONNECT_AUTHENTICATION_TIMEOUT,
        "登录服务未及时响应，请重试。",
    ),
    (keys::DISCONNECT_ENCRYPTION, "无法加密连接，请重试。"),
    (
        keys::DISCONNECT_DISCOVERY_UNAVAILABLE,
        "查找服务器失败，请稍后再试。",
    ),
    (keys::DISCONNECT_FILTERED, "你不能加入此服务器。"),
    (keys::DISCONNECT_OVERLOADED, "当前加入的玩家过多，请稍候再试。"),
    (keys::DISCONNECT_FAULT, "你的游戏发送了此服务器无法识别的内容。"),
    (keys::DISCONNECT_INTERNAL, "我们这边出了问题，请稍后再试。"),
    (keys::DISCONNECT_SHUTDOWN, "服务器正在重启，请稍候重新加入。"),
];
