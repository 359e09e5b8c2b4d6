//! Spanish (Spain).

use passage_proto::text::keys;

pub(super) const MESSAGES: super::Table = &[
    (
        keys::DISCONNECT_TIMEOUT,
        "La conexión ha tardado demasiado. Inténtalo de nuevo.",
    ),
    (
        keys::DISCONNECT_NO_ROUTE,
        "No se conoce ningún servidor con esta dirección. Comprueba que la has escrito bien.",
    ),
    (
        keys::DISCONNECT_NO_TARGET,
        "Ahora mismo no hay ningún servidor disponible. Inténtalo más tarde.",
    ),
    (
        keys::DISCONNECT_TARGET_UNREACHABLE,
        "Ahora mismo no se puede acceder al servidor. Inténtalo más tarde.",
    ),
    (
        keys::DISCONNECT_VERSION,
        "Este servidor necesita Minecraft {version} o posterior. Actualiza el juego.",
    ),
    (
        keys::DISCONNECT_NOT_AUTHENTICATED,
        "No se ha podido confirmar tu inicio de sesión. Reinicia el juego y el launcher e inténtalo de \
         nuevo.",
    ),
    (
        keys::DISCONNECT_INVALID_NAME,
        "Tu nombre no es un nombre de jugador válido.",
    ),
    (
        keys::DISCONNECT_AUTHENTICATION_REFUSED,
        "No tienes permiso para entrar con esta cuenta.",
    ),
    (
        keys::DISCONNECT_AUTHENTICATION_BUSY,
        "Demasiados jugadores están iniciando sesión. Inténtalo de nuevo dentro de un minuto.",
    ),
    (
        keys::DISCONNECT_AUTHENTICATION_UNAVAILABLE,
        "Ahora mismo no se puede acceder al servicio de inicio de sesión. Inténtalo más tarde.",
    ),
    (
        keys::DISCONNECT_AUTHENTICATION_TIMEOUT,
        "El servicio de inicio de sesión no ha respondido a tiempo. Inténtalo de nuevo.",
    ),
    (
        keys::DISCONNECT_ENCRYPTION,
        "No se ha podido cifrar la conexión. Inténtalo de nuevo.",
    ),
    (
        keys::DISCONNECT_DISCOVERY_UNAVAILABLE,
        "La búsqueda de un servidor ha fallado. Inténtalo más tarde.",
    ),
    (
        keys::DISCONNECT_FILTERED,
        "No tienes permiso para entrar en este servidor.",
    ),
    (
        keys::DISCONNECT_OVERLOADED,
        "Demasiados jugadores están entrando. Inténtalo de nuevo dentro de un momento.",
    ),
    (
        keys::DISCONNECT_FAULT,
        "Tu juego ha enviado algo que este servidor no entiende.",
    ),
    (
        keys::DISCONNECT_INTERNAL,
        "Algo ha salido mal por nuestra parte. Inténtalo más tarde.",
    ),
    (
        keys::DISCONNECT_SHUTDOWN,
        "El servidor se está reiniciando. Vuelve a entrar dentro de un momento.",
    ),
];
