BEGIN TRANSACTION;
CREATE TABLE artifacts (
	id INTEGER NOT NULL, 
	kind TEXT NOT NULL, 
	"key" TEXT NOT NULL, 
	digest TEXT, 
	inputs TEXT DEFAULT '{}' NOT NULL, 
	record TEXT DEFAULT '{}' NOT NULL, 
	bytes INTEGER, 
	modified INTEGER, 
	PRIMARY KEY (id), 
	UNIQUE (kind, "key")
);
INSERT INTO "artifacts" VALUES(1,'weights','678fd2f361575b2312cf60a0b4392ef7','91085918ce561467ce475bfff2824afc44e1a1362db470d6735ef096f597f77f','{"train": "3da29a6caf63edf81bbd22497f4f71ae8609477e28abede74c96e464ecb87fdf", "validation": "98f7fb8d974d1e10124bb04827a2bdce10b559cc0af3ab287d91401c7f18f825"}','{"kind":"trained"}',NULL,NULL);
INSERT INTO "artifacts" VALUES(2,'weights','cf17d9b2d28ecbc5c885dbfac428924d','dfa26cc15af10629718c713c2644e9c67019b14d8eb4a0a6ff51200505a3bb00','{"train": "3da29a6caf63edf81bbd22497f4f71ae8609477e28abede74c96e464ecb87fdf", "validation": "98f7fb8d974d1e10124bb04827a2bdce10b559cc0af3ab287d91401c7f18f825"}','{"kind":"trained"}',NULL,NULL);
INSERT INTO "artifacts" VALUES(3,'weights','50a993f5bd6697d6e9f20e6082e03728','6fa09972861a68be5d52580187b271a9038f722888c117f4acd9d8400bfb8abf','{"train": "3da29a6caf63edf81bbd22497f4f71ae8609477e28abede74c96e464ecb87fdf", "validation": "98f7fb8d974d1e10124bb04827a2bdce10b559cc0af3ab287d91401c7f18f825"}','{"kind":"trained"}',NULL,NULL);
INSERT INTO "artifacts" VALUES(4,'weights','2a744c87254275c40532b64c71b4ddeb','22a532caaee85e8d94aa862c87618d91025b3e6520f42148cca87bc0a561e91f','{"train": "3da29a6caf63edf81bbd22497f4f71ae8609477e28abede74c96e464ecb87fdf", "validation": "98f7fb8d974d1e10124bb04827a2bdce10b559cc0af3ab287d91401c7f18f825"}','{"kind":"trained"}',NULL,NULL);
INSERT INTO "artifacts" VALUES(5,'weights','4f17d1ae1558769bde123c1be9352e33','96c093e7881433a05c10667ac3b3f9d5b3526a58a4950097f56e50ac1b83bfb3','{"inner": "22a532caaee85e8d94aa862c87618d91025b3e6520f42148cca87bc0a561e91f"}','{"kind":"wrapped"}',NULL,NULL);
INSERT INTO "artifacts" VALUES(6,'weights','c8793d1c8945898fbbac7ea58cd22109','a0a1b8b97bb4c82f6d7e804915d0e4bc556c4be9c36196bc59c36e1fdb89b77a','{"train": "3da29a6caf63edf81bbd22497f4f71ae8609477e28abede74c96e464ecb87fdf", "validation": "98f7fb8d974d1e10124bb04827a2bdce10b559cc0af3ab287d91401c7f18f825"}','{"kind":"trained"}',NULL,NULL);
INSERT INTO "artifacts" VALUES(7,'weights','96d325b6a8474622a223b645a6592423','125fdb8dc4e563deafebe4819c891429dedea18198daa39925fbaf387fd57c02','{"train": "3da29a6caf63edf81bbd22497f4f71ae8609477e28abede74c96e464ecb87fdf", "validation": "98f7fb8d974d1e10124bb04827a2bdce10b559cc0af3ab287d91401c7f18f825"}','{"kind":"trained"}',NULL,NULL);
INSERT INTO "artifacts" VALUES(8,'weights','b2946e4886bdab3f0af34bffa04a0f28','3809a875e54712f0394145a04183028c624e98420bb7850facdb42d1d7072fa5','{"train": "3da29a6caf63edf81bbd22497f4f71ae8609477e28abede74c96e464ecb87fdf", "validation": "98f7fb8d974d1e10124bb04827a2bdce10b559cc0af3ab287d91401c7f18f825"}','{"kind":"trained"}',NULL,NULL);
INSERT INTO "artifacts" VALUES(9,'weights','4c211b44e45036b7602573c3904d35ac','15a839cbe237f231750a06ec9331f433','{}','{"kind":"referenced"}',NULL,NULL);
INSERT INTO "artifacts" VALUES(10,'sets','de60c1e26488052ecd3ef47438cdb284','f1015cb088b112198a3ee069408f291de0d1c4f9ea7d4edffb79fea3100c0731','{"images": "48e008bef5e8e048f8d33b8e03062646181bae9beea0a1cb0b869a6c05f60f68"}','{}',NULL,NULL);
INSERT INTO "artifacts" VALUES(11,'sets','328ffa0dc050052107b15c3f0035a757','c2ee77af80d0d84a81a62c67d374c00a9a36c86cd37d83c84ab5c07cb14f3169','{"images": "48e008bef5e8e048f8d33b8e03062646181bae9beea0a1cb0b869a6c05f60f68"}','{}',NULL,NULL);
INSERT INTO "artifacts" VALUES(12,'sets','1a8c6a04e57f6eed16aaeee0cabb7ae7','e9fd0855dfe7d108edee59583de67d8b8f33dca9eebc4b09d8bb840f567e2ac0','{"images": "48e008bef5e8e048f8d33b8e03062646181bae9beea0a1cb0b869a6c05f60f68"}','{}',NULL,NULL);
INSERT INTO "artifacts" VALUES(13,'sets','728827c3137fb573343cbad171ec73c1','3b0f6871936f21930af6ddcfd6805394be94c6809a204e6b5d4693ab399b7804','{"images": "48e008bef5e8e048f8d33b8e03062646181bae9beea0a1cb0b869a6c05f60f68"}','{}',NULL,NULL);
INSERT INTO "artifacts" VALUES(14,'sets','f0ebbc701331dc9951e98eaddc4317e2','1fec62774edc26e175c67422a6b20823a377754a1c6f7dc3eb6d6808a523b01e','{"images": "48e008bef5e8e048f8d33b8e03062646181bae9beea0a1cb0b869a6c05f60f68"}','{}',NULL,NULL);
INSERT INTO "artifacts" VALUES(15,'sets','9e60c5cde04a9533dbfa1d36e41ac373','2a77be1bf35def4a4c33ea97700399a45739fe45270abd1f6851ebb9f2ca9807','{"images": "48e008bef5e8e048f8d33b8e03062646181bae9beea0a1cb0b869a6c05f60f68"}','{}',NULL,NULL);
INSERT INTO "artifacts" VALUES(16,'sets','931b51035835ed1258d3f9158fc85aaa','8f0b132e847d8f270717cde47382355ca6a5cf372710f2456d734dea69000df8','{"images": "48e008bef5e8e048f8d33b8e03062646181bae9beea0a1cb0b869a6c05f60f68", "member 0": "a0a1b8b97bb4c82f6d7e804915d0e4bc556c4be9c36196bc59c36e1fdb89b77a"}','{}',NULL,NULL);
INSERT INTO "artifacts" VALUES(17,'sets','e0971e3553b3e0347fd06e5efdbd7acc','0c4feb0bf16cc3b877d20878de43e9c464365cbecf8d91f687e9cdc9b192b5c3','{"images": "48e008bef5e8e048f8d33b8e03062646181bae9beea0a1cb0b869a6c05f60f68", "member 0": "125fdb8dc4e563deafebe4819c891429dedea18198daa39925fbaf387fd57c02", "member 1": "3809a875e54712f0394145a04183028c624e98420bb7850facdb42d1d7072fa5"}','{}',NULL,NULL);
INSERT INTO "artifacts" VALUES(18,'sets','b572227f638236d832d07a3799d4acc1','bccfe7f4d1f4c07c34ce7d3b4d56200a9bf0a37b31ed1cfd783229bb3b3d4ad6','{"images": "48e008bef5e8e048f8d33b8e03062646181bae9beea0a1cb0b869a6c05f60f68", "member 0": "15a839cbe237f231750a06ec9331f433"}','{}',NULL,NULL);
INSERT INTO "artifacts" VALUES(19,'sets','069eca19c31b17a09cdec3302b6ed8af','c73c7b73bd09ab57ab3ca419871ee23ff8a82678bca325c41d81cfaa6f212bfd','{"images": "48e008bef5e8e048f8d33b8e03062646181bae9beea0a1cb0b869a6c05f60f68", "member 0": "91085918ce561467ce475bfff2824afc44e1a1362db470d6735ef096f597f77f"}','{}',NULL,NULL);
INSERT INTO "artifacts" VALUES(20,'sets','9cb3d48a1b572d934d462e79e119c2d1','fbfa5f9b351d4d3c2cd7a825671f1e447e1fa494d824fe1c3cbc5d55743b588e','{"images": "48e008bef5e8e048f8d33b8e03062646181bae9beea0a1cb0b869a6c05f60f68", "member 0": "dfa26cc15af10629718c713c2644e9c67019b14d8eb4a0a6ff51200505a3bb00"}','{}',NULL,NULL);
INSERT INTO "artifacts" VALUES(21,'sets','c54efc8d514bd02906588fdeb59a207d','eca24831bad9ae93faa9e8cefa7187e841bbe5d55a3ba9aa7a75a1bf960c16d1','{"images": "48e008bef5e8e048f8d33b8e03062646181bae9beea0a1cb0b869a6c05f60f68", "member 0": "a0a1b8b97bb4c82f6d7e804915d0e4bc556c4be9c36196bc59c36e1fdb89b77a"}','{}',NULL,NULL);
INSERT INTO "artifacts" VALUES(22,'sets','168444f644c1ce3d547138b0c98d79c4','9a63704aabf38b6cd1214cbea6cedb1a7acfb555f76a600cdcf02ce32e36e6b8','{"images": "48e008bef5e8e048f8d33b8e03062646181bae9beea0a1cb0b869a6c05f60f68", "member 0": "125fdb8dc4e563deafebe4819c891429dedea18198daa39925fbaf387fd57c02", "member 1": "3809a875e54712f0394145a04183028c624e98420bb7850facdb42d1d7072fa5"}','{}',NULL,NULL);
INSERT INTO "artifacts" VALUES(23,'sets','753ae57f3b87de30005e3279488a1fe8','f4a04362155bf081e73a62ac69b19970d465630b0087fe1f86691150c396551b','{"images": "48e008bef5e8e048f8d33b8e03062646181bae9beea0a1cb0b869a6c05f60f68", "member 0": "15a839cbe237f231750a06ec9331f433"}','{}',NULL,NULL);
INSERT INTO "artifacts" VALUES(24,'sets','873beb16087866f35f76ac03a54147ec','238df00901f9adee2c10c4e19a2f6ec7315d801f734ee3f130ab2b3032283a44','{"images": "48e008bef5e8e048f8d33b8e03062646181bae9beea0a1cb0b869a6c05f60f68", "member 0": "91085918ce561467ce475bfff2824afc44e1a1362db470d6735ef096f597f77f"}','{}',NULL,NULL);
INSERT INTO "artifacts" VALUES(25,'sets','fb57794287280630fee22d31a9eea824','359e108c37a3967cbd5ebfb062a7c8abcf49f9997956dd9cdb416f83243f75f3','{"images": "48e008bef5e8e048f8d33b8e03062646181bae9beea0a1cb0b869a6c05f60f68", "member 0": "dfa26cc15af10629718c713c2644e9c67019b14d8eb4a0a6ff51200505a3bb00"}','{}',NULL,NULL);
INSERT INTO "artifacts" VALUES(26,'sets','cd5abb338979f90069e723418f30165a','757d5560dc363b13e59990bdac2969765761161b2ee30f98c50203664361d6a9','{"images": "48e008bef5e8e048f8d33b8e03062646181bae9beea0a1cb0b869a6c05f60f68", "member 0": "6fa09972861a68be5d52580187b271a9038f722888c117f4acd9d8400bfb8abf"}','{}',NULL,NULL);
INSERT INTO "artifacts" VALUES(27,'sets','1a03bc73ffde8890591d471bdde6d866','ef13545c994b168b00d0c60f7fb15bf9c9d772f1d786dfbee58b3513a89032a6','{"images": "48e008bef5e8e048f8d33b8e03062646181bae9beea0a1cb0b869a6c05f60f68", "member 0": "96c093e7881433a05c10667ac3b3f9d5b3526a58a4950097f56e50ac1b83bfb3"}','{}',NULL,NULL);
INSERT INTO "artifacts" VALUES(28,'sets','c472d4ba8b8d3c26adfc41206845f5ae','00d6163c6c12bb7f96752dafbbb486abe3b02c3c63a0dea897a6531ae7980556','{"asked": "6fa09972861a68be5d52580187b271a9038f722888c117f4acd9d8400bfb8abf", "images": "48e008bef5e8e048f8d33b8e03062646181bae9beea0a1cb0b869a6c05f60f68", "member 0": "a0a1b8b97bb4c82f6d7e804915d0e4bc556c4be9c36196bc59c36e1fdb89b77a"}','{}',NULL,NULL);
INSERT INTO "artifacts" VALUES(29,'sets','b5386dd29198f70a3e71b3e5c8fae98e','0f333e55ca1e82c6b15f7d695970ed9db8a47dad54ceb2edd2b845d361a1c7d3','{"asked": "96c093e7881433a05c10667ac3b3f9d5b3526a58a4950097f56e50ac1b83bfb3", "images": "48e008bef5e8e048f8d33b8e03062646181bae9beea0a1cb0b869a6c05f60f68", "member 0": "a0a1b8b97bb4c82f6d7e804915d0e4bc556c4be9c36196bc59c36e1fdb89b77a"}','{}',NULL,NULL);
INSERT INTO "artifacts" VALUES(30,'sets','a504199daa355537be5ba04873822054','9644fe36c6c14aa78cdc9deb3cfff64ba6b564aa52bd49f2afe3cae14fce4473','{"asked": "6fa09972861a68be5d52580187b271a9038f722888c117f4acd9d8400bfb8abf", "images": "48e008bef5e8e048f8d33b8e03062646181bae9beea0a1cb0b869a6c05f60f68", "member 0": "125fdb8dc4e563deafebe4819c891429dedea18198daa39925fbaf387fd57c02", "member 1": "3809a875e54712f0394145a04183028c624e98420bb7850facdb42d1d7072fa5"}','{}',NULL,NULL);
INSERT INTO "artifacts" VALUES(31,'sets','17207781bf8af136d42834a16b6bc567','e3fdbdd52132a4ac4cddc4d1478b369b3f1bf77bc468802218c9a55ecb44ead4','{"asked": "96c093e7881433a05c10667ac3b3f9d5b3526a58a4950097f56e50ac1b83bfb3", "images": "48e008bef5e8e048f8d33b8e03062646181bae9beea0a1cb0b869a6c05f60f68", "member 0": "125fdb8dc4e563deafebe4819c891429dedea18198daa39925fbaf387fd57c02", "member 1": "3809a875e54712f0394145a04183028c624e98420bb7850facdb42d1d7072fa5"}','{}',NULL,NULL);
INSERT INTO "artifacts" VALUES(32,'sets','2a4ce2dbee2309505626f70eb1dca1cb','5e583dbf9c1974802fc6d9723cbaa0c6c07a724d81a353798ec7bc37d39d04bd','{"asked": "6fa09972861a68be5d52580187b271a9038f722888c117f4acd9d8400bfb8abf", "images": "48e008bef5e8e048f8d33b8e03062646181bae9beea0a1cb0b869a6c05f60f68", "member 0": "15a839cbe237f231750a06ec9331f433"}','{}',NULL,NULL);
INSERT INTO "artifacts" VALUES(33,'sets','9291aae3326dfcd207010d263302262b','421f3f1806767210a7fea02a22611963bcb813145e0e0e008a113aed6c781777','{"asked": "96c093e7881433a05c10667ac3b3f9d5b3526a58a4950097f56e50ac1b83bfb3", "images": "48e008bef5e8e048f8d33b8e03062646181bae9beea0a1cb0b869a6c05f60f68", "member 0": "15a839cbe237f231750a06ec9331f433"}','{}',NULL,NULL);
INSERT INTO "artifacts" VALUES(34,'sets','074210fc84799d3f57eeebb1a761aa9f','115385cadd762c28772faa5b22b300e167e78ef8d0ae43d6f6fac1d8c22bb0e2','{"asked": "6fa09972861a68be5d52580187b271a9038f722888c117f4acd9d8400bfb8abf", "images": "48e008bef5e8e048f8d33b8e03062646181bae9beea0a1cb0b869a6c05f60f68", "member 0": "91085918ce561467ce475bfff2824afc44e1a1362db470d6735ef096f597f77f"}','{}',NULL,NULL);
INSERT INTO "artifacts" VALUES(35,'sets','1d74eeee8a0eb52fe7145d47e44bb2d7','4a36830039714865fcec70013c989df297669e362dd87c7a0faabd0d9da237a7','{"asked": "96c093e7881433a05c10667ac3b3f9d5b3526a58a4950097f56e50ac1b83bfb3", "images": "48e008bef5e8e048f8d33b8e03062646181bae9beea0a1cb0b869a6c05f60f68", "member 0": "91085918ce561467ce475bfff2824afc44e1a1362db470d6735ef096f597f77f"}','{}',NULL,NULL);
INSERT INTO "artifacts" VALUES(36,'sets','3f6af73987a6f87cda523bd12ab5c61b','de0af8b6fe706ecc406b2b1f249120047cdfefd3e677dda9cd5d629417f71d00','{"asked": "6fa09972861a68be5d52580187b271a9038f722888c117f4acd9d8400bfb8abf", "images": "48e008bef5e8e048f8d33b8e03062646181bae9beea0a1cb0b869a6c05f60f68", "member 0": "dfa26cc15af10629718c713c2644e9c67019b14d8eb4a0a6ff51200505a3bb00"}','{}',NULL,NULL);
INSERT INTO "artifacts" VALUES(37,'sets','d0a70355fc93df26e8b49bed439abc4e','85cde0ce9864818997bb38d28a375776a9c5cc520b6536ae7018c9115c402ec2','{"asked": "96c093e7881433a05c10667ac3b3f9d5b3526a58a4950097f56e50ac1b83bfb3", "images": "48e008bef5e8e048f8d33b8e03062646181bae9beea0a1cb0b869a6c05f60f68", "member 0": "dfa26cc15af10629718c713c2644e9c67019b14d8eb4a0a6ff51200505a3bb00"}','{}',NULL,NULL);
INSERT INTO "artifacts" VALUES(38,'sets','1b6d47cc009488d43290c20aaf6f8f53','e495fb045b1fe1fca9fe8b07e190cf45929b3c277bdb36a1c2f7fa05bd29c3c9','{"images": "05aa173bbdc000cd0b300308dd5e41a76af0cafc3d7b9fc3cc6a5160f2f81da9"}','{}',NULL,NULL);
INSERT INTO "artifacts" VALUES(39,'sets','c9b15b0e13c1670c7104fcc7cf5666a8','9c4246350c0ebd685d6835aa64380d495c74fb915e4eda47d7c8a13ecc7c410c','{"images": "05aa173bbdc000cd0b300308dd5e41a76af0cafc3d7b9fc3cc6a5160f2f81da9"}','{}',NULL,NULL);
INSERT INTO "artifacts" VALUES(40,'sets','2df6f249bbc0fb9ce044cc2823030985','2c4602b941d4517980fb3220481dacd57ee07c15433be59b593ea5a1e80e9cf5','{"images": "05aa173bbdc000cd0b300308dd5e41a76af0cafc3d7b9fc3cc6a5160f2f81da9"}','{}',NULL,NULL);
INSERT INTO "artifacts" VALUES(41,'sets','84d184d6d8b5941d7c28f65e09614afd','e2e9c06cb7fe9d2444246f5101e10c9c147afa9df53d78723a0ea83e78e963d4','{"images": "05aa173bbdc000cd0b300308dd5e41a76af0cafc3d7b9fc3cc6a5160f2f81da9"}','{}',NULL,NULL);
INSERT INTO "artifacts" VALUES(42,'sets','b781b079078d990272b7cc3e2bf6deff','d89781cd71b0c3a47abfc9ccc7865bc110dd1f834ee69992e505494c562b828c','{"images": "05aa173bbdc000cd0b300308dd5e41a76af0cafc3d7b9fc3cc6a5160f2f81da9"}','{}',NULL,NULL);
INSERT INTO "artifacts" VALUES(43,'sets','99b9678b9969d9db67ce419406c373be','d1f7b056e724243499fe77aef0d337ddd3b4ab3552b40f10030293cc7ad0ebd3','{"images": "05aa173bbdc000cd0b300308dd5e41a76af0cafc3d7b9fc3cc6a5160f2f81da9"}','{}',NULL,NULL);
INSERT INTO "artifacts" VALUES(44,'sets','12fc6e49f66e0eeb5902213c4996835c','af075edf8a479aead4edeabec2a44914b624fe4b7b0d72c2bf8743c34e12ecae','{"images": "05aa173bbdc000cd0b300308dd5e41a76af0cafc3d7b9fc3cc6a5160f2f81da9", "member 0": "a0a1b8b97bb4c82f6d7e804915d0e4bc556c4be9c36196bc59c36e1fdb89b77a"}','{}',NULL,NULL);
INSERT INTO "artifacts" VALUES(45,'sets','33e967b1a1eb10cd921a56e836aefdf2','ed73816c34268c646af6452057a739ea3be9ca704d4b232867b5fdb025ca290d','{"images": "05aa173bbdc000cd0b300308dd5e41a76af0cafc3d7b9fc3cc6a5160f2f81da9", "member 0": "125fdb8dc4e563deafebe4819c891429dedea18198daa39925fbaf387fd57c02", "member 1": "3809a875e54712f0394145a04183028c624e98420bb7850facdb42d1d7072fa5"}','{}',NULL,NULL);
INSERT INTO "artifacts" VALUES(46,'sets','11ecd727ad5a7fb3392a0ae6b3109fbe','fab7fe21d7b6f10361b2f4579189cf55c18f31e98c23b8e12099483e13f25692','{"images": "05aa173bbdc000cd0b300308dd5e41a76af0cafc3d7b9fc3cc6a5160f2f81da9", "member 0": "15a839cbe237f231750a06ec9331f433"}','{}',NULL,NULL);
INSERT INTO "artifacts" VALUES(47,'sets','bc4e82c4f2098ea65c17f243f8ca5cbf','6f3ef0d271733c3d72af16a19dfff6596ff6d9a8f0030200c95e13ca7be7fca5','{"images": "05aa173bbdc000cd0b300308dd5e41a76af0cafc3d7b9fc3cc6a5160f2f81da9", "member 0": "91085918ce561467ce475bfff2824afc44e1a1362db470d6735ef096f597f77f"}','{}',NULL,NULL);
INSERT INTO "artifacts" VALUES(48,'sets','eacc096bd97dba4d38695a4da8fabcd6','a19f739acc96ce950dcbda582621395b5322146320d90c8546098299d7ef8c19','{"images": "05aa173bbdc000cd0b300308dd5e41a76af0cafc3d7b9fc3cc6a5160f2f81da9", "member 0": "dfa26cc15af10629718c713c2644e9c67019b14d8eb4a0a6ff51200505a3bb00"}','{}',NULL,NULL);
INSERT INTO "artifacts" VALUES(49,'images','28f35454715cfcbcd9e468f2244917bd','48e008bef5e8e048f8d33b8e03062646181bae9beea0a1cb0b869a6c05f60f68','{}','{}',NULL,NULL);
INSERT INTO "artifacts" VALUES(50,'images','7bb5d6ad39db74787c76e42ccee1f279','05aa173bbdc000cd0b300308dd5e41a76af0cafc3d7b9fc3cc6a5160f2f81da9','{}','{}',NULL,NULL);
CREATE TABLE attempts (
	id INTEGER NOT NULL, 
	run TEXT NOT NULL, 
	job TEXT NOT NULL, 
	label TEXT NOT NULL, 
	finished TEXT NOT NULL, 
	seconds FLOAT NOT NULL, 
	inside FLOAT NOT NULL, 
	passes INTEGER NOT NULL, 
	failure TEXT, 
	environment TEXT, 
	PRIMARY KEY (id), 
	FOREIGN KEY(run) REFERENCES runs (id)
);
CREATE TABLE cells (
	adversarial_set INTEGER NOT NULL, 
	victim INTEGER NOT NULL, 
	n INTEGER NOT NULL, 
	k INTEGER NOT NULL, 
	clean INTEGER NOT NULL, 
	changes BLOB NOT NULL, 
	PRIMARY KEY (adversarial_set, victim), 
	FOREIGN KEY(adversarial_set) REFERENCES artifacts (id), 
	FOREIGN KEY(victim) REFERENCES artifacts (id), 
	FOREIGN KEY(clean) REFERENCES clean (id)
)
 WITHOUT ROWID

;
INSERT INTO "cells" VALUES(10,3,6,0,1,X'780163C0000000120001');
INSERT INTO "cells" VALUES(10,5,6,0,3,X'780163C0000000120001');
INSERT INTO "cells" VALUES(11,3,6,0,1,X'780163C0000000120001');
INSERT INTO "cells" VALUES(11,5,6,0,3,X'780163C0000000120001');
INSERT INTO "cells" VALUES(12,3,6,0,1,X'780163C0000000120001');
INSERT INTO "cells" VALUES(12,5,6,0,3,X'780163C0000000120001');
INSERT INTO "cells" VALUES(13,3,6,0,1,X'780163C0000000120001');
INSERT INTO "cells" VALUES(13,5,6,0,3,X'780163C0000000120001');
INSERT INTO "cells" VALUES(14,3,6,0,1,X'78016340038C0C0000140002');
INSERT INTO "cells" VALUES(14,5,6,0,3,X'780163C0000000120001');
INSERT INTO "cells" VALUES(15,3,6,0,1,X'780163C0000000120001');
INSERT INTO "cells" VALUES(15,5,6,0,3,X'780163C0000000120001');
INSERT INTO "cells" VALUES(16,3,6,0,1,X'780163C0000000120001');
INSERT INTO "cells" VALUES(16,5,6,0,3,X'780163C0000000120001');
INSERT INTO "cells" VALUES(16,6,6,0,5,X'780163C0000000120001');
INSERT INTO "cells" VALUES(17,3,6,0,1,X'78016340038C0C0000140002');
INSERT INTO "cells" VALUES(17,5,6,0,3,X'780163C0000000120001');
INSERT INTO "cells" VALUES(17,7,6,0,6,X'780163C0000000120001');
INSERT INTO "cells" VALUES(17,8,6,0,7,X'780163C0000000120001');
INSERT INTO "cells" VALUES(18,3,6,0,1,X'78016340038C0C0000140002');
INSERT INTO "cells" VALUES(18,5,6,0,3,X'780163C0000000120001');
INSERT INTO "cells" VALUES(18,9,6,0,8,X'780163C0000000120001');
INSERT INTO "cells" VALUES(19,1,6,0,9,X'780163C0000000120001');
INSERT INTO "cells" VALUES(19,3,6,0,1,X'780163C0000000120001');
INSERT INTO "cells" VALUES(19,5,6,0,3,X'780163C0000000120001');
INSERT INTO "cells" VALUES(20,2,6,0,10,X'780163C0000000120001');
INSERT INTO "cells" VALUES(20,3,6,0,1,X'780163C0000000120001');
INSERT INTO "cells" VALUES(20,5,6,0,3,X'780163C0000000120001');
INSERT INTO "cells" VALUES(21,3,6,0,1,X'78016340078C0000130002');
INSERT INTO "cells" VALUES(21,5,6,0,3,X'780163C0000000120001');
INSERT INTO "cells" VALUES(21,6,6,0,5,X'780163C0000000120001');
INSERT INTO "cells" VALUES(22,3,6,0,1,X'780163C0000000120001');
INSERT INTO "cells" VALUES(22,5,6,0,3,X'780163C0000000120001');
INSERT INTO "cells" VALUES(22,7,6,0,6,X'780163C0000000120001');
INSERT INTO "cells" VALUES(22,8,6,0,7,X'780163C0000000120001');
INSERT INTO "cells" VALUES(23,3,6,0,1,X'780163C0000000120001');
INSERT INTO "cells" VALUES(23,5,6,0,3,X'780163C0000000120001');
INSERT INTO "cells" VALUES(23,9,6,0,8,X'780163C0000000120001');
INSERT INTO "cells" VALUES(24,1,6,0,9,X'780163C0000000120001');
INSERT INTO "cells" VALUES(24,3,6,0,1,X'780163C0000000120001');
INSERT INTO "cells" VALUES(24,5,6,0,3,X'780163C0000000120001');
INSERT INTO "cells" VALUES(25,2,6,0,10,X'78DA636064646064000220C10866000000550007');
INSERT INTO "cells" VALUES(25,3,6,0,1,X'780163C0000000120001');
INSERT INTO "cells" VALUES(25,5,6,0,3,X'780163C0000000120001');
INSERT INTO "cells" VALUES(26,3,6,0,1,X'78016340038C0C0000140002');
INSERT INTO "cells" VALUES(27,5,6,0,3,X'780163C0000000120001');
INSERT INTO "cells" VALUES(28,3,6,0,1,X'780163C0000000120001');
INSERT INTO "cells" VALUES(29,5,6,0,3,X'780163C0000000120001');
INSERT INTO "cells" VALUES(30,3,6,0,1,X'78016340038C0C0000140002');
INSERT INTO "cells" VALUES(31,5,6,0,3,X'780163C0000000120001');
INSERT INTO "cells" VALUES(32,3,6,0,1,X'78016340038C0C0000140002');
INSERT INTO "cells" VALUES(33,5,6,0,3,X'780163C0000000120001');
INSERT INTO "cells" VALUES(34,3,6,0,1,X'780163C0000000120001');
INSERT INTO "cells" VALUES(35,5,6,0,3,X'780163C0000000120001');
INSERT INTO "cells" VALUES(36,3,6,0,1,X'780163C0000000120001');
INSERT INTO "cells" VALUES(37,5,6,0,3,X'780163C0000000120001');
INSERT INTO "cells" VALUES(44,3,6,0,2,X'780163C0000000120001');
INSERT INTO "cells" VALUES(44,5,6,0,4,X'780163C0000000120001');
INSERT INTO "cells" VALUES(45,3,6,0,2,X'780163C0000000120001');
INSERT INTO "cells" VALUES(45,5,6,0,4,X'780163C0000000120001');
INSERT INTO "cells" VALUES(46,3,6,0,2,X'780163C0000000120001');
INSERT INTO "cells" VALUES(46,5,6,0,4,X'780163C0000000120001');
INSERT INTO "cells" VALUES(47,3,6,0,2,X'780163C0000000120001');
INSERT INTO "cells" VALUES(47,5,6,0,4,X'780163C0000000120001');
INSERT INTO "cells" VALUES(48,3,6,0,2,X'780163C0000000120001');
INSERT INTO "cells" VALUES(48,5,6,0,4,X'780163C0000000120001');
CREATE TABLE clean (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	victim INTEGER NOT NULL, 
	image_set INTEGER NOT NULL, 
	correct INTEGER NOT NULL, 
	predictions BLOB NOT NULL, 
	UNIQUE (victim, image_set), 
	FOREIGN KEY(victim) REFERENCES artifacts (id), 
	FOREIGN KEY(image_set) REFERENCES artifacts (id)
);
INSERT INTO "clean" VALUES(1,3,49,6,X'010101010101010101010101010101010101');
INSERT INTO "clean" VALUES(2,3,50,6,X'010101010101010101010101010101010101');
INSERT INTO "clean" VALUES(3,5,49,6,X'000000000000000000000000000000000000');
INSERT INTO "clean" VALUES(4,5,50,6,X'000000000000000000000000000000000000');
INSERT INTO "clean" VALUES(5,6,49,6,X'020202020202020202020202020202020202');
INSERT INTO "clean" VALUES(6,7,49,6,X'020202020202020202020202020202020202');
INSERT INTO "clean" VALUES(7,8,49,6,X'010101010101010101010101010101010101');
INSERT INTO "clean" VALUES(8,9,49,6,X'020202020202020202020202020202020202');
INSERT INTO "clean" VALUES(9,1,49,6,X'000000000000000000000000000000000000');
INSERT INTO "clean" VALUES(10,2,49,6,X'000000000000000000000000000000000000');
CREATE TABLE image_sets (
	artifact INTEGER NOT NULL, 
	task TEXT NOT NULL, 
	split TEXT NOT NULL, 
	classes TEXT NOT NULL, 
	sources TEXT NOT NULL, 
	labels BLOB NOT NULL, 
	image_source BLOB NOT NULL, 
	ids BLOB NOT NULL, 
	PRIMARY KEY (artifact), 
	FOREIGN KEY(artifact) REFERENCES artifacts (id)
);
INSERT INTO "image_sets" VALUES(49,'npz','test','["0", "1", "2"]','["here", "there"]',X'000000000100000001000000000000000100000002000000020000000000000002000000010000000200000000000000010000000100000002000000000000000200000000000000',X'000000000000000000000000000000000000000000000000000000000000000000000000010000000100000001000000010000000100000001000000010000000100000001000000',X'000000000200000004000000020000000D000000020000000F000000020000001F0000000200000020000000020000002F000000020000003000000002000000380000000200000004000000050000000800000005000000150000000500000016000000050000001C000000050000002300000005000000240000000500000029000000050000003900000005000000');
INSERT INTO "image_sets" VALUES(50,'npz','validation','["0", "1", "2"]','["here", "there"]',X'000000000100000002000000000000000200000000000000010000000200000001000000020000000000000001000000010000000200000000000000000000000100000002000000',X'000000000000000000000000000000000000000000000000000000000000000000000000010000000100000001000000010000000100000001000000010000000100000001000000',X'0600000001000000070000000100000008000000010000000F0000000100000011000000010000001200000001000000160000000100000017000000010000001C00000001000000020000000400000003000000040000000D000000040000001000000004000000170000000400000018000000040000001B000000040000001C000000040000001D00000004000000');
CREATE TABLE meta (
	name TEXT NOT NULL, 
	value TEXT, 
	PRIMARY KEY (name)
);
INSERT INTO "meta" VALUES('schema','3');
INSERT INTO "meta" VALUES('changes','107');
CREATE TABLE published (
	run TEXT NOT NULL, 
	"row" INTEGER NOT NULL, 
	task TEXT NOT NULL, 
	training TEXT NOT NULL, 
	attack TEXT NOT NULL, 
	math BOOLEAN NOT NULL, 
	source_s TEXT NOT NULL, 
	architecture_s TEXT NOT NULL, 
	balance_s TEXT NOT NULL, 
	source_v TEXT NOT NULL, 
	architecture_v TEXT NOT NULL, 
	balance_v TEXT NOT NULL, 
	asr FLOAT NOT NULL, 
	asr_0 FLOAT NOT NULL, 
	asr_1 FLOAT NOT NULL, 
	clean_f1 FLOAT, 
	PRIMARY KEY (run, "row"), 
	FOREIGN KEY(run) REFERENCES runs (id)
)
 WITHOUT ROWID

;
CREATE TABLE run_cells (
	run TEXT NOT NULL, 
	adversarial_set INTEGER NOT NULL, 
	victim INTEGER NOT NULL, 
	"case" INTEGER, 
	failure TEXT, 
	PRIMARY KEY (run, adversarial_set, victim), 
	FOREIGN KEY(run) REFERENCES runs (id)
)
 WITHOUT ROWID

;
INSERT INTO "run_cells" VALUES('old-c6b4e0',10,3,NULL,NULL);
INSERT INTO "run_cells" VALUES('old-c6b4e0',10,5,NULL,NULL);
INSERT INTO "run_cells" VALUES('old-c6b4e0',11,3,NULL,NULL);
INSERT INTO "run_cells" VALUES('old-c6b4e0',11,5,NULL,NULL);
INSERT INTO "run_cells" VALUES('old-c6b4e0',12,3,NULL,NULL);
INSERT INTO "run_cells" VALUES('old-c6b4e0',12,5,NULL,NULL);
INSERT INTO "run_cells" VALUES('old-c6b4e0',13,3,NULL,NULL);
INSERT INTO "run_cells" VALUES('old-c6b4e0',13,5,NULL,NULL);
INSERT INTO "run_cells" VALUES('old-c6b4e0',14,3,NULL,NULL);
INSERT INTO "run_cells" VALUES('old-c6b4e0',14,5,NULL,NULL);
INSERT INTO "run_cells" VALUES('old-c6b4e0',15,3,NULL,NULL);
INSERT INTO "run_cells" VALUES('old-c6b4e0',15,5,NULL,NULL);
INSERT INTO "run_cells" VALUES('old-c6b4e0',16,3,1,NULL);
INSERT INTO "run_cells" VALUES('old-c6b4e0',16,5,1,NULL);
INSERT INTO "run_cells" VALUES('old-c6b4e0',16,6,0,NULL);
INSERT INTO "run_cells" VALUES('old-c6b4e0',17,3,2,NULL);
INSERT INTO "run_cells" VALUES('old-c6b4e0',17,5,2,NULL);
INSERT INTO "run_cells" VALUES('old-c6b4e0',17,7,0,NULL);
INSERT INTO "run_cells" VALUES('old-c6b4e0',17,8,0,NULL);
INSERT INTO "run_cells" VALUES('old-c6b4e0',18,3,NULL,NULL);
INSERT INTO "run_cells" VALUES('old-c6b4e0',18,5,NULL,NULL);
INSERT INTO "run_cells" VALUES('old-c6b4e0',18,9,0,NULL);
INSERT INTO "run_cells" VALUES('old-c6b4e0',19,1,0,NULL);
INSERT INTO "run_cells" VALUES('old-c6b4e0',19,3,1,NULL);
INSERT INTO "run_cells" VALUES('old-c6b4e0',19,5,1,NULL);
INSERT INTO "run_cells" VALUES('old-c6b4e0',20,2,0,NULL);
INSERT INTO "run_cells" VALUES('old-c6b4e0',20,3,1,NULL);
INSERT INTO "run_cells" VALUES('old-c6b4e0',20,5,1,NULL);
INSERT INTO "run_cells" VALUES('old-c6b4e0',21,3,1,NULL);
INSERT INTO "run_cells" VALUES('old-c6b4e0',21,5,1,NULL);
INSERT INTO "run_cells" VALUES('old-c6b4e0',21,6,0,NULL);
INSERT INTO "run_cells" VALUES('old-c6b4e0',22,3,2,NULL);
INSERT INTO "run_cells" VALUES('old-c6b4e0',22,5,2,NULL);
INSERT INTO "run_cells" VALUES('old-c6b4e0',22,7,0,NULL);
INSERT INTO "run_cells" VALUES('old-c6b4e0',22,8,0,NULL);
INSERT INTO "run_cells" VALUES('old-c6b4e0',23,3,NULL,NULL);
INSERT INTO "run_cells" VALUES('old-c6b4e0',23,5,NULL,NULL);
INSERT INTO "run_cells" VALUES('old-c6b4e0',23,9,0,NULL);
INSERT INTO "run_cells" VALUES('old-c6b4e0',24,1,0,NULL);
INSERT INTO "run_cells" VALUES('old-c6b4e0',24,3,1,NULL);
INSERT INTO "run_cells" VALUES('old-c6b4e0',24,5,1,NULL);
INSERT INTO "run_cells" VALUES('old-c6b4e0',25,2,0,NULL);
INSERT INTO "run_cells" VALUES('old-c6b4e0',25,3,1,NULL);
INSERT INTO "run_cells" VALUES('old-c6b4e0',25,5,1,NULL);
INSERT INTO "run_cells" VALUES('old-c6b4e0',26,3,0,NULL);
INSERT INTO "run_cells" VALUES('old-c6b4e0',27,5,0,NULL);
INSERT INTO "run_cells" VALUES('old-c6b4e0',28,3,1,NULL);
INSERT INTO "run_cells" VALUES('old-c6b4e0',29,5,1,NULL);
INSERT INTO "run_cells" VALUES('old-c6b4e0',30,3,2,NULL);
INSERT INTO "run_cells" VALUES('old-c6b4e0',31,5,2,NULL);
INSERT INTO "run_cells" VALUES('old-c6b4e0',32,3,NULL,NULL);
INSERT INTO "run_cells" VALUES('old-c6b4e0',33,5,NULL,NULL);
INSERT INTO "run_cells" VALUES('old-c6b4e0',34,3,1,NULL);
INSERT INTO "run_cells" VALUES('old-c6b4e0',35,5,1,NULL);
INSERT INTO "run_cells" VALUES('old-c6b4e0',36,3,1,NULL);
INSERT INTO "run_cells" VALUES('old-c6b4e0',37,5,1,NULL);
INSERT INTO "run_cells" VALUES('old-c6b4e0',44,3,1,NULL);
INSERT INTO "run_cells" VALUES('old-c6b4e0',44,5,1,NULL);
INSERT INTO "run_cells" VALUES('old-c6b4e0',45,3,2,NULL);
INSERT INTO "run_cells" VALUES('old-c6b4e0',45,5,2,NULL);
INSERT INTO "run_cells" VALUES('old-c6b4e0',46,3,NULL,NULL);
INSERT INTO "run_cells" VALUES('old-c6b4e0',46,5,NULL,NULL);
INSERT INTO "run_cells" VALUES('old-c6b4e0',47,3,1,NULL);
INSERT INTO "run_cells" VALUES('old-c6b4e0',47,5,1,NULL);
INSERT INTO "run_cells" VALUES('old-c6b4e0',48,3,1,NULL);
INSERT INTO "run_cells" VALUES('old-c6b4e0',48,5,1,NULL);
CREATE TABLE run_models (
	run TEXT NOT NULL, 
	artifact INTEGER NOT NULL, 
	role TEXT NOT NULL, 
	label TEXT NOT NULL, 
	axes TEXT NOT NULL, 
	PRIMARY KEY (run, artifact, role), 
	FOREIGN KEY(run) REFERENCES runs (id), 
	FOREIGN KEY(artifact) REFERENCES artifacts (id)
);
INSERT INTO "run_models" VALUES('old-c6b4e0',1,'public pool seen','here/uniform/mlp(width=4)/all/s10','{"source": "here", "samples": "all", "balance": "uniform", "architecture": "mlp(width=4)", "recipe": "standard(epochs=1,shift=0,rotation=0,scale=0,learning_rate=0.02)", "n": "90", "defense": "none", "seed": "10"}');
INSERT INTO "run_models" VALUES('old-c6b4e0',2,'public pool held out','here/uniform/mlp(width=4)/all/s11','{"source": "here", "samples": "all", "balance": "uniform", "architecture": "mlp(width=4)", "recipe": "standard(epochs=1,shift=0,rotation=0,scale=0,learning_rate=0.02)", "n": "90", "defense": "none", "seed": "11"}');
INSERT INTO "run_models" VALUES('old-c6b4e0',3,'victim','here/uniform/mlp(width=4)/all/s2','{"source": "here", "samples": "all", "balance": "uniform", "architecture": "mlp(width=4)", "recipe": "standard(epochs=1,shift=0,rotation=0,scale=0,learning_rate=0.02)", "n": "90", "defense": "none", "seed": "2"}');
INSERT INTO "run_models" VALUES('old-c6b4e0',4,'victim','jpeg:here/uniform/mlp(width=4)/all/s3 > plain','{"source": "here", "samples": "all", "balance": "uniform", "architecture": "mlp(width=4)", "recipe": "standard(epochs=1,shift=0,rotation=0,scale=0,learning_rate=0.02)", "n": "90", "defense": "jpeg", "seed": "3"}');
INSERT INTO "run_models" VALUES('old-c6b4e0',5,'victim','jpeg:here/uniform/mlp(width=4)/all/s3','{"source": "here", "samples": "all", "balance": "uniform", "architecture": "mlp(width=4)", "recipe": "standard(epochs=1,shift=0,rotation=0,scale=0,learning_rate=0.02)", "n": "90", "defense": "jpeg", "seed": "3"}');
INSERT INTO "run_models" VALUES('old-c6b4e0',6,'surrogate','here/uniform/mlp(width=4)/all/s1','{"source": "here", "samples": "all", "balance": "uniform", "architecture": "mlp(width=4)", "recipe": "standard(epochs=1,shift=0,rotation=0,scale=0,learning_rate=0.02)", "n": "90", "defense": "none", "seed": "1"}');
INSERT INTO "run_models" VALUES('old-c6b4e0',7,'surrogate','größer > mlp(width=4)/s5','{"source": "here", "samples": "all", "balance": "tv0.2", "architecture": "mlp(width=4)", "recipe": "standard(epochs=1,shift=0,rotation=0,scale=0,learning_rate=0.02)", "n": "54", "defense": "none", "seed": "5"}');
INSERT INTO "run_models" VALUES('old-c6b4e0',8,'surrogate','größer > mlp(width=4)/s1000005','{"source": "here", "samples": "all", "balance": "tv0.2", "architecture": "mlp(width=4)", "recipe": "standard(epochs=1,shift=0,rotation=0,scale=0,learning_rate=0.02)", "n": "54", "defense": "none", "seed": "1000005"}');
INSERT INTO "run_models" VALUES('old-c6b4e0',9,'surrogate','lent','{"source": "there", "architecture": "mlp(width=4)", "defense": "none"}');
CREATE TABLE run_sets (
	run TEXT NOT NULL, 
	artifact INTEGER NOT NULL, 
	image_set INTEGER NOT NULL, 
	surrogate TEXT, 
	surrogate_axes TEXT NOT NULL, 
	attack TEXT NOT NULL, 
	norm TEXT NOT NULL, 
	eps TEXT NOT NULL, 
	attack_seed INTEGER NOT NULL, 
	targeted BOOLEAN NOT NULL, 
	PRIMARY KEY (run, artifact), 
	FOREIGN KEY(run) REFERENCES runs (id), 
	FOREIGN KEY(artifact) REFERENCES artifacts (id), 
	FOREIGN KEY(image_set) REFERENCES artifacts (id)
);
INSERT INTO "run_sets" VALUES('old-c6b4e0',10,49,NULL,'{}','identity','linf','0/255',0,0);
INSERT INTO "run_sets" VALUES('old-c6b4e0',11,49,NULL,'{}','sign-noise 1/2','linf','32/255',0,0);
INSERT INTO "run_sets" VALUES('old-c6b4e0',12,49,NULL,'{}','sign-noise 3/4','linf','32/255',0,0);
INSERT INTO "run_sets" VALUES('old-c6b4e0',13,49,NULL,'{}','sign-noise 1','linf','32/255',0,0);
INSERT INTO "run_sets" VALUES('old-c6b4e0',14,49,NULL,'{}','gaussian-noise','linf','32/255',0,0);
INSERT INTO "run_sets" VALUES('old-c6b4e0',15,49,NULL,'{}','box-blur','linf','32/255',0,0);
INSERT INTO "run_sets" VALUES('old-c6b4e0',16,49,'here/uniform/mlp(width=4)/all/s1','{"source": "here", "samples": "all", "balance": "uniform", "architecture": "mlp(width=4)", "recipe": "standard(epochs=1,shift=0,rotation=0,scale=0,learning_rate=0.02)", "n": "all", "defense": "none", "builder": "single", "seed": "1", "reads": "surrogate"}','fgsm','linf','32/255',0,0);
INSERT INTO "run_sets" VALUES('old-c6b4e0',17,49,'größer','{"source": "here", "samples": "all", "balance": "tv0.2", "architecture": "mlp(width=4)", "recipe": "standard(epochs=1,shift=0,rotation=0,scale=0,learning_rate=0.02)", "n": "54", "defense": "none", "builder": "ensemble(size=2)", "seed": "5", "reads": "surrogate"}','fgsm','linf','32/255',0,0);
INSERT INTO "run_sets" VALUES('old-c6b4e0',18,49,'lent','{"source": "there", "architecture": "mlp(width=4)", "defense": "none", "builder": "single", "reads": "surrogate"}','fgsm','linf','32/255',0,0);
INSERT INTO "run_sets" VALUES('old-c6b4e0',19,49,'here/uniform/mlp(width=4)/all/s10','{"source": "here", "samples": "all", "balance": "uniform", "architecture": "mlp(width=4)", "recipe": "standard(epochs=1,shift=0,rotation=0,scale=0,learning_rate=0.02)", "n": "all", "defense": "none", "group": "normal", "pool": "seen", "builder": "single", "seed": "10", "reads": "surrogate"}','fgsm','linf','32/255',0,0);
INSERT INTO "run_sets" VALUES('old-c6b4e0',20,49,'here/uniform/mlp(width=4)/all/s11','{"source": "here", "samples": "all", "balance": "uniform", "architecture": "mlp(width=4)", "recipe": "standard(epochs=1,shift=0,rotation=0,scale=0,learning_rate=0.02)", "n": "all", "defense": "none", "group": "normal", "pool": "held out", "builder": "single", "seed": "11", "reads": "surrogate"}','fgsm','linf','32/255',0,0);
INSERT INTO "run_sets" VALUES('old-c6b4e0',21,49,'here/uniform/mlp(width=4)/all/s1','{"source": "here", "samples": "all", "balance": "uniform", "architecture": "mlp(width=4)", "recipe": "standard(epochs=1,shift=0,rotation=0,scale=0,learning_rate=0.02)", "n": "all", "defense": "none", "builder": "single", "seed": "1", "reads": "surrogate", "decoy": "true"}','fgsm decoy','linf','32/255',0,0);
INSERT INTO "run_sets" VALUES('old-c6b4e0',22,49,'größer','{"source": "here", "samples": "all", "balance": "tv0.2", "architecture": "mlp(width=4)", "recipe": "standard(epochs=1,shift=0,rotation=0,scale=0,learning_rate=0.02)", "n": "54", "defense": "none", "builder": "ensemble(size=2)", "seed": "5", "reads": "surrogate", "decoy": "true"}','fgsm decoy','linf','32/255',0,0);
INSERT INTO "run_sets" VALUES('old-c6b4e0',23,49,'lent','{"source": "there", "architecture": "mlp(width=4)", "defense": "none", "builder": "single", "reads": "surrogate", "decoy": "true"}','fgsm decoy','linf','32/255',0,0);
INSERT INTO "run_sets" VALUES('old-c6b4e0',24,49,'here/uniform/mlp(width=4)/all/s10','{"source": "here", "samples": "all", "balance": "uniform", "architecture": "mlp(width=4)", "recipe": "standard(epochs=1,shift=0,rotation=0,scale=0,learning_rate=0.02)", "n": "all", "defense": "none", "group": "normal", "pool": "seen", "builder": "single", "seed": "10", "reads": "surrogate", "decoy": "true"}','fgsm decoy','linf','32/255',0,0);
INSERT INTO "run_sets" VALUES('old-c6b4e0',25,49,'here/uniform/mlp(width=4)/all/s11','{"source": "here", "samples": "all", "balance": "uniform", "architecture": "mlp(width=4)", "recipe": "standard(epochs=1,shift=0,rotation=0,scale=0,learning_rate=0.02)", "n": "all", "defense": "none", "group": "normal", "pool": "held out", "builder": "single", "seed": "11", "reads": "surrogate", "decoy": "true"}','fgsm decoy','linf','32/255',0,0);
INSERT INTO "run_sets" VALUES('old-c6b4e0',26,49,'here/uniform/mlp(width=4)/all/s2','{"source": "here", "samples": "all", "balance": "uniform", "architecture": "mlp(width=4)", "recipe": "standard(epochs=1,shift=0,rotation=0,scale=0,learning_rate=0.02)", "n": "all", "defense": "none", "builder": "single", "seed": "2", "reads": "victim"}','bim steps=2 on victims','linf','32/255',0,0);
INSERT INTO "run_sets" VALUES('old-c6b4e0',27,49,'jpeg:here/uniform/mlp(width=4)/all/s3','{"source": "here", "samples": "all", "balance": "uniform", "architecture": "mlp(width=4)", "recipe": "standard(epochs=1,shift=0,rotation=0,scale=0,learning_rate=0.02)", "n": "all", "defense": "jpeg", "builder": "single", "seed": "3", "reads": "victim"}','bim steps=2 on victims','linf','32/255',0,0);
INSERT INTO "run_sets" VALUES('old-c6b4e0',28,49,'here/uniform/mlp(width=4)/all/s1','{"source": "here", "samples": "all", "balance": "uniform", "architecture": "mlp(width=4)", "recipe": "standard(epochs=1,shift=0,rotation=0,scale=0,learning_rate=0.02)", "n": "all", "defense": "none", "builder": "single", "seed": "1", "reads": "both", "asked": "here/uniform/mlp(width=4)/all/s2"}','both','linf','32/255',0,0);
INSERT INTO "run_sets" VALUES('old-c6b4e0',29,49,'here/uniform/mlp(width=4)/all/s1','{"source": "here", "samples": "all", "balance": "uniform", "architecture": "mlp(width=4)", "recipe": "standard(epochs=1,shift=0,rotation=0,scale=0,learning_rate=0.02)", "n": "all", "defense": "none", "builder": "single", "seed": "1", "reads": "both", "asked": "jpeg:here/uniform/mlp(width=4)/all/s3"}','both','linf','32/255',0,0);
INSERT INTO "run_sets" VALUES('old-c6b4e0',30,49,'größer','{"source": "here", "samples": "all", "balance": "tv0.2", "architecture": "mlp(width=4)", "recipe": "standard(epochs=1,shift=0,rotation=0,scale=0,learning_rate=0.02)", "n": "54", "defense": "none", "builder": "ensemble(size=2)", "seed": "5", "reads": "both", "asked": "here/uniform/mlp(width=4)/all/s2"}','both','linf','32/255',0,0);
INSERT INTO "run_sets" VALUES('old-c6b4e0',31,49,'größer','{"source": "here", "samples": "all", "balance": "tv0.2", "architecture": "mlp(width=4)", "recipe": "standard(epochs=1,shift=0,rotation=0,scale=0,learning_rate=0.02)", "n": "54", "defense": "none", "builder": "ensemble(size=2)", "seed": "5", "reads": "both", "asked": "jpeg:here/uniform/mlp(width=4)/all/s3"}','both','linf','32/255',0,0);
INSERT INTO "run_sets" VALUES('old-c6b4e0',32,49,'lent','{"source": "there", "architecture": "mlp(width=4)", "defense": "none", "builder": "single", "reads": "both", "asked": "here/uniform/mlp(width=4)/all/s2"}','both','linf','32/255',0,0);
INSERT INTO "run_sets" VALUES('old-c6b4e0',33,49,'lent','{"source": "there", "architecture": "mlp(width=4)", "defense": "none", "builder": "single", "reads": "both", "asked": "jpeg:here/uniform/mlp(width=4)/all/s3"}','both','linf','32/255',0,0);
INSERT INTO "run_sets" VALUES('old-c6b4e0',34,49,'here/uniform/mlp(width=4)/all/s10','{"source": "here", "samples": "all", "balance": "uniform", "architecture": "mlp(width=4)", "recipe": "standard(epochs=1,shift=0,rotation=0,scale=0,learning_rate=0.02)", "n": "all", "defense": "none", "group": "normal", "pool": "seen", "builder": "single", "seed": "10", "reads": "both", "asked": "here/uniform/mlp(width=4)/all/s2"}','both','linf','32/255',0,0);
INSERT INTO "run_sets" VALUES('old-c6b4e0',35,49,'here/uniform/mlp(width=4)/all/s10','{"source": "here", "samples": "all", "balance": "uniform", "architecture": "mlp(width=4)", "recipe": "standard(epochs=1,shift=0,rotation=0,scale=0,learning_rate=0.02)", "n": "all", "defense": "none", "group": "normal", "pool": "seen", "builder": "single", "seed": "10", "reads": "both", "asked": "jpeg:here/uniform/mlp(width=4)/all/s3"}','both','linf','32/255',0,0);
INSERT INTO "run_sets" VALUES('old-c6b4e0',36,49,'here/uniform/mlp(width=4)/all/s11','{"source": "here", "samples": "all", "balance": "uniform", "architecture": "mlp(width=4)", "recipe": "standard(epochs=1,shift=0,rotation=0,scale=0,learning_rate=0.02)", "n": "all", "defense": "none", "group": "normal", "pool": "held out", "builder": "single", "seed": "11", "reads": "both", "asked": "here/uniform/mlp(width=4)/all/s2"}','both','linf','32/255',0,0);
INSERT INTO "run_sets" VALUES('old-c6b4e0',37,49,'here/uniform/mlp(width=4)/all/s11','{"source": "here", "samples": "all", "balance": "uniform", "architecture": "mlp(width=4)", "recipe": "standard(epochs=1,shift=0,rotation=0,scale=0,learning_rate=0.02)", "n": "all", "defense": "none", "group": "normal", "pool": "held out", "builder": "single", "seed": "11", "reads": "both", "asked": "jpeg:here/uniform/mlp(width=4)/all/s3"}','both','linf','32/255',0,0);
INSERT INTO "run_sets" VALUES('old-c6b4e0',38,50,NULL,'{}','identity','linf','0/255',0,0);
INSERT INTO "run_sets" VALUES('old-c6b4e0',39,50,NULL,'{}','sign-noise 1/2','linf','32/255',0,0);
INSERT INTO "run_sets" VALUES('old-c6b4e0',40,50,NULL,'{}','sign-noise 3/4','linf','32/255',0,0);
INSERT INTO "run_sets" VALUES('old-c6b4e0',41,50,NULL,'{}','sign-noise 1','linf','32/255',0,0);
INSERT INTO "run_sets" VALUES('old-c6b4e0',42,50,NULL,'{}','gaussian-noise','linf','32/255',0,0);
INSERT INTO "run_sets" VALUES('old-c6b4e0',43,50,NULL,'{}','box-blur','linf','32/255',0,0);
INSERT INTO "run_sets" VALUES('old-c6b4e0',44,50,'here/uniform/mlp(width=4)/all/s1','{"source": "here", "samples": "all", "balance": "uniform", "architecture": "mlp(width=4)", "recipe": "standard(epochs=1,shift=0,rotation=0,scale=0,learning_rate=0.02)", "n": "all", "defense": "none", "builder": "single", "seed": "1", "reads": "surrogate"}','fgsm','linf','32/255',0,0);
INSERT INTO "run_sets" VALUES('old-c6b4e0',45,50,'größer','{"source": "here", "samples": "all", "balance": "tv0.2", "architecture": "mlp(width=4)", "recipe": "standard(epochs=1,shift=0,rotation=0,scale=0,learning_rate=0.02)", "n": "54", "defense": "none", "builder": "ensemble(size=2)", "seed": "5", "reads": "surrogate"}','fgsm','linf','32/255',0,0);
INSERT INTO "run_sets" VALUES('old-c6b4e0',46,50,'lent','{"source": "there", "architecture": "mlp(width=4)", "defense": "none", "builder": "single", "reads": "surrogate"}','fgsm','linf','32/255',0,0);
INSERT INTO "run_sets" VALUES('old-c6b4e0',47,50,'here/uniform/mlp(width=4)/all/s10','{"source": "here", "samples": "all", "balance": "uniform", "architecture": "mlp(width=4)", "recipe": "standard(epochs=1,shift=0,rotation=0,scale=0,learning_rate=0.02)", "n": "all", "defense": "none", "group": "normal", "pool": "seen", "builder": "single", "seed": "10", "reads": "surrogate"}','fgsm','linf','32/255',0,0);
INSERT INTO "run_sets" VALUES('old-c6b4e0',48,50,'here/uniform/mlp(width=4)/all/s11','{"source": "here", "samples": "all", "balance": "uniform", "architecture": "mlp(width=4)", "recipe": "standard(epochs=1,shift=0,rotation=0,scale=0,learning_rate=0.02)", "n": "all", "defense": "none", "group": "normal", "pool": "held out", "builder": "single", "seed": "11", "reads": "surrogate"}','fgsm','linf','32/255',0,0);
CREATE TABLE run_surrogates (
	run TEXT NOT NULL, 
	label TEXT NOT NULL, 
	victim TEXT NOT NULL, 
	builder TEXT NOT NULL, 
	members TEXT NOT NULL, 
	rests_on TEXT NOT NULL, 
	measures INTEGER, 
	active INTEGER NOT NULL, 
	schedule TEXT NOT NULL, 
	networks INTEGER, 
	axes TEXT NOT NULL, 
	PRIMARY KEY (run, label, victim), 
	FOREIGN KEY(run) REFERENCES runs (id)
);
CREATE TABLE run_victims (
	run TEXT NOT NULL, 
	victim INTEGER NOT NULL, 
	rests_on TEXT NOT NULL, 
	measures INTEGER NOT NULL, 
	budget TEXT NOT NULL, 
	PRIMARY KEY (run, victim), 
	FOREIGN KEY(run) REFERENCES runs (id), 
	FOREIGN KEY(victim) REFERENCES artifacts (id), 
	FOREIGN KEY(measures) REFERENCES artifacts (id)
);
CREATE TABLE runs (
	id TEXT NOT NULL, 
	scenario TEXT NOT NULL, 
	description TEXT NOT NULL, 
	text TEXT NOT NULL, 
	task TEXT NOT NULL, 
	status TEXT NOT NULL, 
	started TEXT NOT NULL, 
	finished TEXT, 
	environment TEXT NOT NULL, 
	stamp TEXT, 
	PRIMARY KEY (id)
);
INSERT INTO "runs" VALUES('old-c6b4e0','old','Sets of every kind','','npz','done','2026-11-30T16:23:27+00:00','2026-11-30T16:24:01+00:00','{}',NULL);
CREATE INDEX cells_by_victim ON cells (victim);
CREATE INDEX cells_counted ON cells (adversarial_set, victim, n, k);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('clean',10);
COMMIT;
