"""Attribute keys with a meaning of their own (spec: api 1.12, events 9.1 and 9.2, and the integrations' pages)."""

RESERVED = frozenset(
    {
        # person
        "$displayName",
        "$email",
        "$phoneNumber",
        # push
        "$apnsTokens",
        "$fcmTokens",
        # device
        "$attConsentStatus",
        "$idfa",
        "$idfv",
        "$gpsAdId",
        "$androidId",
        "$amazonAdId",
        "$ip",
        "$ipAddress",
        "$deviceVersion",
        # analytics, attribution and engagement
        "$adjustId",
        "$airbridgeDeviceId",
        "$airshipChannelId",
        "$amplitudeDeviceId",
        "$amplitudeUserId",
        "$appsflyerId",
        "$appsflyerSharingFilter",
        "$appstackId",
        "$branchId",
        "$brazeAliasLabel",
        "$brazeAliasName",
        "$clevertapId",
        "$customerioId",
        "$fbAnonId",
        "$firebaseAppInstanceId",
        "$iterableCampaignId",
        "$iterableTemplateId",
        "$iterableUserId",
        "$kochavaDeviceId",
        "$mixpanelDistinctId",
        "$mparticleId",
        "$onesignalId",
        "$onesignalUserId",
        "$posthogUserId",
        "$segmentId",
        "$singularDeviceId",
        "$solarEngineAccountId",
        "$solarEngineDistinctId",
        "$solarEngineVisitorId",
        "$telemetryDeckAppId",
        "$telemetryDeckUserId",
        "$tenjinId",
        # campaign
        "$ad",
        "$adGroup",
        "$campaign",
        "$creative",
        "$keyword",
        "$mediaSource",
        "$appleAdsAdGroupId",
        "$appleAdsAdId",
        "$appleAdsCampaignId",
        "$appleAdsCountryOrRegion",
        "$appleAdsKeywordId",
        # behaviour
        "$appleRefundHandlingPreference",
    }
)
"""They do not count toward the limit of custom attributes."""

WRITE_ONCE = frozenset(
    {
        "$idfa",
        "$idfv",
        "$gpsAdId",
        "$ip",
        "$androidId",
        "$amazonAdId",
        "$mediaSource",
        "$campaign",
        "$adGroup",
        "$ad",
        "$keyword",
        "$creative",
    }
)
"""Once set, another value is silently ignored; an explicit delete opens them again."""

ATT_CONSENT_STATUSES = ("restricted", "denied", "authorized", "unknown", "notDetermined")
