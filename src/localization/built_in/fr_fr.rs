//! French (France).

use passage_proto::text::keys;

pub(super) const MESSAGES: super::Table = &[
    (
        keys::DISCONNECT_TIMEOUT,
        "La connexion a pris trop de temps. Veuillez réessayer.",
    ),
    (
        keys::DISCONNECT_NO_ROUTE,
        "Aucun serveur n’est connu à cette adresse. Vérifiez que vous l’avez bien saisie.",
    ),
    (
        keys::DISCONNECT_NO_TARGET,
        "Aucun serveur n’est disponible pour le moment. Veuillez réessayer plus tard.",
    ),
    (
        keys::DISCONNECT_TARGET_UNREACHABLE,
        "Le serveur est injoignable pour le moment. Veuillez réessayer plus tard.",
    ),
    (
        keys::DISCONNECT_VERSION,
        "Ce serveur nécessite Minecraft {version} ou une version plus récente. Veuillez mettre le jeu à \
         jour.",
    ),
    (
        keys::DISCONNECT_NOT_AUTHENTICATED,
        "Votre connexion n’a pas pu être confirmée. Relancez le jeu et le launcher, puis réessayez.",
    ),
    (
        keys::DISCONNECT_INVALID_NAME,
        "Votre nom n’est pas un nom de joueur valide.",
    ),
    (
        keys::DISCONNECT_AUTHENTICATION_REFUSED,
        "Vous n’êtes pas autorisé à rejoindre ce serveur avec ce compte.",
    ),
    (
        keys::DISCONNECT_AUTHENTICATION_BUSY,
        "Trop de joueurs s’identifient en ce moment. Veuillez réessayer dans une minute.",
    ),
    (
        keys::DISCONNECT_AUTHENTICATION_UNAVAILABLE,
        "Le service d’authentification est injoignable pour le moment. Veuillez réessayer plus tard.",
    ),
    (
        keys::DISCONNECT_AUTHENTICATION_TIMEOUT,
        "Le service d’authentification n’a pas répondu à temps. Veuillez réessayer.",
    ),
    (
        keys::DISCONNECT_ENCRYPTION,
        "La connexion n’a pas pu être chiffrée. Veuillez réessayer.",
    ),
    (
        keys::DISCONNECT_DISCOVERY_UNAVAILABLE,
        "La recherche d’un serveur a échoué. Veuillez réessayer plus tard.",
    ),
    (
        keys::DISCONNECT_FILTERED,
        "Vous n’êtes pas autorisé à rejoindre ce serveur.",
    ),
    (
        keys::DISCONNECT_OVERLOADED,
        "Trop de joueurs arrivent en ce moment. Veuillez réessayer dans un instant.",
    ),
    (
        keys::DISCONNECT_FAULT,
        "Votre jeu a envoyé quelque chose que ce serveur ne comprend pas.",
    ),
    (
        keys::DISCONNECT_INTERNAL,
        "Une erreur s’est produite de notre côté. Veuillez réessayer plus tard.",
    ),
    (
        keys::DISCONNECT_SHUTDOWN,
        "Le serveur redémarre. Veuillez le rejoindre à nouveau dans un instant.",
    ),
];
