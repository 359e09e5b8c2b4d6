//! German (Germany).

use passage_proto::text::keys;

pub(super) const MESSAGES: super::Table = &[
    (
        keys::DISCONNECT_TIMEOUT,
        "Die Verbindung hat zu lange gebraucht. Bitte versuche es noch einmal.",
    ),
    (
        keys::DISCONNECT_NO_ROUTE,
        "Unter dieser Adresse ist kein Server bekannt. Bitte prüfe, ob du sie richtig eingegeben hast.",
    ),
    (
        keys::DISCONNECT_NO_TARGET,
        "Zurzeit ist kein Server verfügbar. Bitte versuche es später noch einmal.",
    ),
    (
        keys::DISCONNECT_TARGET_UNREACHABLE,
        "Der Server ist zurzeit nicht erreichbar. Bitte versuche es später noch einmal.",
    ),
    (
        keys::DISCONNECT_VERSION,
        "Dieser Server benötigt Minecraft {version} oder neuer. Bitte aktualisiere dein Spiel.",
    ),
    (
        keys::DISCONNECT_NOT_AUTHENTICATED,
        "Deine Anmeldung konnte nicht bestätigt werden. Bitte starte Spiel und Launcher neu und versuche \
         es noch einmal.",
    ),
    (
        keys::DISCONNECT_INVALID_NAME,
        "Dein Name ist kein gültiger Spielername.",
    ),
    (
        keys::DISCONNECT_AUTHENTICATION_REFUSED,
        "Mit diesem Konto darfst du nicht beitreten.",
    ),
    (
        keys::DISCONNECT_AUTHENTICATION_BUSY,
        "Gerade melden sich zu viele Spieler an. Bitte versuche es in einer Minute noch einmal.",
    ),
    (
        keys::DISCONNECT_AUTHENTICATION_UNAVAILABLE,
        "Der Anmeldedienst ist zurzeit nicht erreichbar. Bitte versuche es später noch einmal.",
    ),
    (
        keys::DISCONNECT_AUTHENTICATION_TIMEOUT,
        "Der Anmeldedienst hat nicht rechtzeitig geantwortet. Bitte versuche es noch einmal.",
    ),
    (
        keys::DISCONNECT_ENCRYPTION,
        "Die Verbindung konnte nicht verschlüsselt werden. Bitte versuche es noch einmal.",
    ),
    (
        keys::DISCONNECT_DISCOVERY_UNAVAILABLE,
        "Die Suche nach einem Server ist fehlgeschlagen. Bitte versuche es später noch einmal.",
    ),
    (
        keys::DISCONNECT_FILTERED,
        "Du darfst diesem Server nicht beitreten.",
    ),
    (
        keys::DISCONNECT_OVERLOADED,
        "Gerade treten zu viele Spieler bei. Bitte versuche es gleich noch einmal.",
    ),
    (
        keys::DISCONNECT_FAULT,
        "Dein Spiel hat etwas gesendet, das dieser Server nicht versteht.",
    ),
    (
        keys::DISCONNECT_INTERNAL,
        "Bei uns ist etwas schiefgegangen. Bitte versuche es später noch einmal.",
    ),
    (
        keys::DISCONNECT_SHUTDOWN,
        "Der Server startet neu. Bitte tritt gleich wieder bei.",
    ),
];
