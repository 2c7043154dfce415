from realm_tf.client.realm_client import RealmClient as RealmClient
